"""Draws scenes on 16 × 16 pixels, each time somewhere else.

centre   = (x, y) of a thing's box in pixels, x to the right, y down;
           the middle of the first pixel is (0.5, 0.5)
half     = half the width and height of that box
coverage = how much of a pixel a thing covers, 0 to 1
GAP      = pixels that stay free between the boxes of two things
LEAN     = how far two things may stand apart across their relation, per
           pixel along it: "left of" is never half "above"
FREE     = share of the room that a thing has in which its place is drawn,
           around the middle of it: 1 would be all, 0 always the same place

Coverage is the distance to the outline, cut off half a pixel inside and half
a pixel outside: a smooth edge without drawing anything larger.

Sources
- Own drawings; distance to an outline as coverage: Green 2007, "Improved
  Alpha-Tested Magnification for Vector Textures", section 3.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmnotes.scenes.scene import (
    SHAPES,
    Scene,
    canonical,
)

SIDE = 16
HALF = {"small": 2.1, "large": 3.2}
GAP, MARGIN, LEAN, FREE = 1.8, 0.3, 0.5, 0.3
BACKGROUND = (0.1, 0.1, 0.1)
PALETTE = {
    "red": (0.9, 0.2, 0.2),
    "green": (0.2, 0.75, 0.3),
    "blue": (0.25, 0.45, 0.95),
    "yellow": (0.95, 0.85, 0.25),
}


def coverage(
    shape: Int[Tensor, "*things"],
    half: Float[Tensor, "*things"],
    centre: Float[Tensor, "*things 2"],
) -> Float[Tensor, "*things rows columns"]:
    """How much of each pixel things cover; `shape` counts in `SHAPES`."""
    middles = torch.arange(SIDE, dtype=half.dtype) + 0.5
    x = middles - centre[..., 0, None, None]
    y = middles[:, None] - centre[..., 1, None, None]
    h = half[..., None, None]
    circle = h - (x * x + y * y).sqrt()
    square = h - torch.maximum(x.abs(), y.abs())
    # Twice as high as half its base: its sides climb 2 for 1.
    triangle = torch.minimum(h - y, (y + h - 2 * x.abs()) / 5**0.5)
    kind = shape[..., None, None]
    depth = torch.where(kind == 0, circle, square)
    depth = torch.where(kind == 2, triangle, depth)
    return (depth + 0.5).clamp(0, 1)


def centres(
    half: Float[Tensor, "batch things"],
    across: Int[Tensor, "batch"],
    uniforms: Float[Tensor, "batch things 2"],
) -> Float[Tensor, "batch things 2"]:
    """Where the boxes of things lie, from numbers that are uniform on [0, 1).

    The first of two things lies in front along the axis of the relation:
    left where `across` is 1 (the other axis is y), above where it is 0.
    """
    span = SIDE - 2 * MARGIN - 2 * half.sum(1) - GAP * (half.shape[1] - 1)
    first = MARGIN + half[:, 0] + span * uniforms[:, :, 0].min(1).values
    side = _within(half[:, 0], uniforms[:, 0, 1])
    found = torch.stack([first, side], 1)[:, None]
    if half.shape[1] == 2:
        second = SIDE - MARGIN - half[:, 1]
        second = second - span * (1 - uniforms[:, :, 0].max(1).values)
        lean = LEAN * (second - first)
        beside = _within(half[:, 1], uniforms[:, 1, 1], side, lean)
        found = torch.cat(
            [found, torch.stack([second, beside], 1)[:, None]], 1
        )
    return torch.where(across[:, None, None] == 1, found, found.flip(-1))


def _within(half, uniform, near=None, lean=None):
    """A place inside the picture, no further than `lean` from another."""
    low, high = MARGIN + half, SIDE - MARGIN - half
    if near is not None:
        low, high = low.maximum(near - lean), high.minimum(near + lean)
    return low + (high - low) * uniform


def draw_all(
    scenes: Sequence[Scene], generator: torch.Generator
) -> Float[Tensor, "batch channels rows columns"]:
    """Pictures of scenes in float32, 0 to 1; each has a place by chance.

    Each scene takes four numbers from the generator, whatever it shows.
    """
    uniforms = torch.rand(len(scenes), 2, 2, generator=generator)
    uniforms = 0.5 + FREE * (uniforms - 0.5)
    out = torch.empty(len(scenes), 3, SIDE, SIDE)
    for number in (1, 2):
        rows = [i for i, s in enumerate(scenes) if len(s.things) == number]
        if rows:
            some = [canonical(scenes[i]) for i in rows]
            out[rows] = _drawn(some, uniforms[rows, :number])
    return out


def _drawn(scenes, uniforms):
    """Pictures of scenes with equally many things."""
    every = [s.things for s in scenes]
    halves = torch.tensor([[HALF[t.size] for t in ts] for ts in every])
    shapes = torch.tensor(
        [[SHAPES.index(t.shape) for t in ts] for ts in every]
    )
    colours = torch.tensor([[PALETTE[t.colour] for t in ts] for ts in every])
    across = torch.tensor([int(s.relation != "above") for s in scenes])
    cover = coverage(shapes, halves, centres(halves, across, uniforms))
    ground = torch.tensor(BACKGROUND)
    painted = torch.einsum("btrc,btk->bkrc", cover, colours - ground)
    return painted + ground[:, None, None]


def draw(
    scene: Scene, generator: torch.Generator
) -> Float[Tensor, "channels rows columns"]:
    """One picture of a scene, see `draw_all`."""
    return draw_all([scene], generator)[0]
