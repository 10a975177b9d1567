"""Training on captioned shapes: minutes on one core.

target = "data", "velocity" or "noise", by the names that ddpm knows
scale  = s of classifier-free guidance
Muon moves the matrices of the blocks, AdamW the rest; the rate rises for a
tenth at most and falls in a line to nothing.

Sources
- Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
  networks", kellerjordan.github.io/posts/muon.
- Nichol et al. 2022, "GLIDE", arXiv 2112.10741, §4.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes import scenes, train
from llmnotes.diffusion.clip import CLIP
from llmnotes.diffusion.ddim import DPMSolver2M, Solver, sample
from llmnotes.diffusion.ddpm import Denoiser, Schedule, cosine
from llmnotes.diffusion.ddpm.runs import TARGETS
from llmnotes.diffusion.ddpm.task import generator
from llmnotes.diffusion.glide.encoders import CaptionConfig, Captions
from llmnotes.diffusion.glide.model import DiTConfig
from llmnotes.diffusion.glide.stitched import Stitched
from llmnotes.diffusion.glide.task import EMPTY, Drawing, shown
from llmnotes.diffusion.glide.tower import Tower
from llmnotes.diffusion.guidance import ClassifierFree
from llmnotes.scenes import VOCABULARY
from llmnotes.transformer.pretraining.muon import MuonAdamW

WORDS = CaptionConfig(vocab=VOCABULARY.size, empty=EMPTY, depth=2)
ONE = DiTConfig(depth=4)
TWO = DiTConfig(depth=5)
SHAPES = {1: ONE, 2: TWO}  # of networks for so many things
RATE, SIZE = 6e-3, 64
STEPS = {1: 400, 2: 1200}  # of scenes with so many things


def untrained(
    shape: DiTConfig = TWO, target: str = "data", seed: int = 0,
    encoder: nn.Module | None = None,
) -> Denoiser:  # fmt: skip
    """A denoiser that knows no pictures yet, and no words.

    An encoder that can read already takes the place of its own.
    """
    torch.manual_seed(seed)
    network = Stitched(shape, encoder or Captions(WORDS))
    return Denoiser(network, Schedule(cosine()), TARGETS[target]())


def reading(
    clip: CLIP, shape: DiTConfig = TWO, target: str = "data", seed: int = 0
) -> Denoiser:
    """A denoiser that knows no pictures yet; CLIP's text tower reads."""
    return untrained(shape, target, seed, Tower(clip, EMPTY))


def task(denoiser: Denoiser, objects=2, seed=0, size=SIZE, drop=0.1):
    """What it learns: scenes of one or two things, but the held-out pairs."""
    among, steps = scenes.scenes(objects), denoiser.schedule.steps
    return Drawing(among, steps=steps, size=size, seed=seed, drop=drop)


def config(steps=STEPS[2], rate=RATE, seed=0, every=None):
    """A short rise and a long fall."""
    return train.TrainConfig(
        steps=steps,
        batch_size=1,  # the task makes its own batches
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=min(50, steps // 10),
        weight_decay=0.0,
        clip=0.0,
        eval_every=every or steps,
        seed=seed,
    )


def learn(
    denoiser: Denoiser, learned: Drawing, config: train.TrainConfig, **options
) -> train.History:
    """Train in place. `options` are those of `fit`."""
    rate = config.learning_rate
    optimizer = MuonAdamW(denoiser.network, lr=rate)
    return train.fit(denoiser, learned, config, optimizer=optimizer, **options)


def draw(
    denoiser: Denoiser, captions: Sequence[str], *,
    generator: torch.Generator, scale: float = 2.0, steps: int = 20,
    solver: Solver | None = None,
) -> Float[Tensor, "batch channels rows columns"]:  # fmt: skip
    """A picture for each caption, from 0 to 1."""
    ids = VOCABULARY.encode(captions)
    shape = denoiser.network.config
    size = len(ids), shape.channels, shape.rows, shape.columns
    return shown(
        sample(
            ClassifierFree(denoiser, scale), size, ids, steps=steps,
            generator=generator, solver=solver or DPMSolver2M(),
        )
    )  # fmt: skip


def asked(count: int, objects: int = 2, held_out: bool = False, seed: int = 9):
    """Captions to draw, and the scenes that they tell."""
    split = "held_out" if held_out else "test"
    among = scenes.scenes(objects, held_out)
    drawn = scenes.batch(seed, 0, count, among, split=split)
    return drawn.captions, drawn.scenes


def right(
    denoiser: Denoiser, count: int = 256, objects: int = 2,
    held_out: bool = False, seed: int = 0, **options,
) -> dict[str, float]:  # fmt: skip
    """Share of pictures that show each attribute of their captions.

    `options` are those of `draw`.
    """
    captions, wanted = asked(count, objects, held_out)
    drawn = draw(denoiser, captions, generator=generator(seed), **options)
    return scenes.share_right(drawn, wanted)
