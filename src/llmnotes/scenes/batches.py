"""Batches of pictures with captions; (seed, step) decides everything.

among = scenes of which a batch is drawn, with repetition

Sources
- Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"
  (Philox: random numbers as a pure function of a key).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.scenes.drawing import draw_all
from llmnotes.scenes.scene import Scene, scenes
from llmnotes.scenes.telling import caption

SPLITS = ("train", "test", "held_out")


@dataclass(frozen=True)
class Batch:
    """Pictures, what they show, and a caption of each."""

    images: Float[Tensor, "batch channels rows columns"]
    scenes: list[Scene]
    captions: list[str]


def batch(
    seed: int,
    step: int,
    size: int,
    among: Sequence[Scene] | None = None,
    *,
    paraphrases: bool = True,
    split: str = "train",
) -> Batch:
    """`size` scenes, drawn and told: a function of its arguments.

    Without `among`, scenes of two things: those without held-out pairs, or
    in the split "held_out" those with one. "test" has the scenes of "train"
    at other places. Without `paraphrases` captions are canonical.

    Raises `ValueError` for a size below 1, an unknown split, or no scene to
    draw from.
    """
    check_batch(size, among, split)
    if among is None:
        among = scenes(2, split == "held_out")
    generator = generator_of(seed, step, split)
    drawn = torch.randint(len(among), (size,), generator=generator)
    chosen = [among[i] for i in drawn.tolist()]
    images = draw_all(chosen, generator)
    told = generator if paraphrases else None
    return Batch(images, chosen, [caption(scene, told) for scene in chosen])


def generator_of(
    seed: int, step: int, split: str = "train"
) -> torch.Generator:
    """A generator of its own for each seed, step and split."""
    bits = np.random.Philox(
        key=[seed, step], counter=[0, 0, 0, SPLITS.index(split)]
    )
    return torch.Generator().manual_seed(int(bits.random_raw() >> 1))


def check_batch(size: int, among: Sequence[Scene] | None, split: str) -> None:
    """Raise `ValueError` unless there is something to draw."""
    if size < 1:
        raise ValueError(f"size: got {size}, expected at least 1 picture")
    if split not in SPLITS:
        raise ValueError(
            f"split: got {split!r}, expected one of {', '.join(SPLITS)}"
        )
    if among is not None and not among:
        raise ValueError("among: got no scene, expected at least one")
