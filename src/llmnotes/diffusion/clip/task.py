"""Which caption belongs to which picture of shapes, and how that is judged.

candidates = the captions of all 2,304 scenes of two things, each meaning
             told from both sides: either side counts as right
top1       = share of pictures whose best candidate means what is shown
swap       = share whose caption beats the same words with both things
             exchanged; scenes of two equal things are left out
sizes, colours, shapes, relation = what of the best candidate is right, its
             things matched with those shown as the checker does

Sources
- Radford et al. 2021, arXiv 2103.00020, §3.1.2 (classes as captions).
- Yuksekgonul et al. 2022, "When and why vision-language models behave like
  bags-of-words", arXiv 2210.01936, §2 (captions with what is exchanged).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmnotes import scenes
from llmnotes.diffusion.clip.config import (
    CLIPConfig,
    TextConfig,
    VisionConfig,
)
from llmnotes.diffusion.clip.model import CLIP
from llmnotes.modes import evaluating
from llmnotes.scenes import VOCABULARY, Scene, canonical

TOWER = dict(
    hidden_size=64,
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
)
LAPTOP = CLIPConfig(
    TextConfig(
        **TOWER,
        vocab_size=VOCABULARY.size,
        max_position_embeddings=VOCABULARY.length,
        eos_token_id=VOCABULARY.end,
    ),
    VisionConfig(**TOWER, image_size=scenes.SIDE, patch_size=4),
    projection_dim=64,
)
CHUNK = 256  # images or captions that are read at once


@dataclass(frozen=True)
class Judged:
    """What share of pictures was read right; see the module's legend."""

    top1: float
    swap: float
    sizes: float
    colours: float
    shapes: float
    relation: float


def pixels(
    images: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch channels rows columns"]:
    """Pictures as the towers take them: from -1 to 1."""
    return 2 * images - 1


@functools.cache
def candidates() -> tuple[Scene, ...]:
    """All scenes of two things, held out or not."""
    return scenes.scenes(2, None)


@functools.cache
def meanings() -> dict[Scene, int]:
    """A number for each meaning, the same for both ways to tell it."""
    known = dict.fromkeys(canonical(scene) for scene in candidates())
    return {scene: i for i, scene in enumerate(known)}


def meaning(found: Sequence[Scene]) -> Int[Tensor, "batch"]:
    """The numbers of what scenes mean."""
    known = meanings()
    return torch.tensor([known[canonical(scene)] for scene in found])


def swapped(scene: Scene) -> Scene:
    """The same words, and each thing in the other's place."""
    return Scene(scene.things[::-1], scene.relation)


def told(found: Sequence[Scene]) -> Int[Tensor, "batch length"]:
    """Canonical captions of scenes, as ids."""
    return VOCABULARY.encode([scenes.caption(scene) for scene in found])


def embedded(embed, inputs: Tensor) -> Float[Tensor, "batch features"]:
    """What a tower makes of many inputs, piece by piece."""
    return torch.cat([embed(part) for part in inputs.split(CHUNK)])


def judge(
    model: CLIP,
    images: Float[Tensor, "batch channels rows columns"],
    shown: Sequence[Scene],
) -> Judged:
    """Let a model choose among all candidates, and look what it chose."""
    with evaluating(model):
        seen = embedded(model.embed_images, images)
        texts = embedded(model.embed_texts, told(candidates()))
        own = embedded(model.embed_texts, told(shown))
        other = embedded(model.embed_texts, told([*map(swapped, shown)]))
    best = [candidates()[i] for i in (seen @ texts.T).argmax(1).tolist()]
    differ = torch.tensor([s.things[0] != s.things[1] for s in shown])
    won = (seen * own).sum(1) > (seen * other).sum(1)
    right = meaning(best) == meaning(shown)
    parts = torch.tensor([*map(matched, best, shown)]).float().mean(0)
    return Judged(
        right.float().mean().item(),
        won[differ].float().mean().item(),
        *parts.tolist(),
    )


def matched(found: Scene, shown: Scene) -> list[bool]:
    """Whether sizes, colours, shapes and relation of a scene are right."""
    ways = []
    for one in (found, scenes.scene.turned(found)):
        pairs = list(zip(one.things, shown.things, strict=True))
        words = [
            [getattr(a, word) == getattr(b, word) for a, b in pairs]
            for word in ("size", "colour", "shape")
        ]
        relation = one.relation == shown.relation
        ways.append((sum(map(sum, words)) + relation, words, relation))
    _, words, relation = max(ways, key=lambda way: way[0])
    return [*map(all, words), relation]
