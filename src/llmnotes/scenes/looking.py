"""Finds the things of a picture: blobs, their colour, size and shape.

strength = how far a pixel goes from the background towards its colour, 0 to 1
blob     = pixels of strength above 1/2 that touch at their sides
template = what a thing would cover if it lay where the blob lies
error    = squared distance of a blob's strengths from a template, per
           squared template: 0 fits, 1 is as far as nothing at all

Several pictures at once; what is not clear has the number -1, never a guess.

Sources
- Own rules. Blobs by the smallest number among neighbours, until nothing
  changes: Haralick 1981, "Some Neighborhood Operators".
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llmnotes.scenes.drawing import BACKGROUND, HALF, PALETTE, SIDE, coverage
from llmnotes.scenes.scene import SHAPES, SIZES

SPECK = 3  # blobs of fewer pixels are noise
HUE = 0.25  # how far a blob's colour may lie from the palette's
PURE = 0.8  # share of a blob's pixels that must have its colour
FIT = 0.2  # the largest error of a template that counts as seen
LEAD = 0.01  # by how much it must fit better than the next one
NOTHING = SIDE * SIDE  # the number of a pixel in no blob
UNCLEAR = -1


@dataclass(frozen=True)
class Seen:
    """What pictures show: two places each, of which `number` count.

    `size`, `colour` and `shape` count in SIZES, COLOURS and SHAPES and are
    -1 where that is not clear; `centre` is the centre of mass, (x, y) in
    pixels.
    """

    number: Int[Tensor, "batch"]
    size: Int[Tensor, "batch things"]
    colour: Int[Tensor, "batch things"]
    shape: Int[Tensor, "batch things"]
    centre: Float[Tensor, "batch things 2"]
    error: Float[Tensor, "batch things"]


def look(images: Float[Tensor, "batch channels rows columns"]) -> Seen:
    """Find the two largest blobs of each picture and say what they are.

    `number` counts all blobs, so that a third one is a fault. Raises
    `ValueError` for other pictures than 3 × 16 × 16, and for numbers that
    are not finite.
    """
    check_images(images)
    images = images.detach().float().cpu()
    strength, hue = paint(images)
    number, blobs = largest(labels(strength.amax(1) > 0.5))
    colour = colours(images, blobs, hue)
    own = own_strength(strength, blobs, colour)
    centre = centres_of_mass(own)
    size, shape, error = fitted(own, centre)
    there = torch.arange(2) < number[:, None]
    said = [torch.where(there, x, UNCLEAR) for x in (size, colour, shape)]
    return Seen(number, *said, centre, error)


def check_images(images: Tensor) -> None:
    """Raise `ValueError` unless they are finite and 3 × 16 × 16."""
    if images.shape[1:] != (3, SIDE, SIDE):
        raise ValueError(
            f"images: got shape {tuple(images.shape)}, expected (batch, 3, "
            f"{SIDE}, {SIDE})"
        )
    if not images.isfinite().all():
        raise ValueError("images: got numbers that are not finite")


def rays() -> Float[Tensor, "colours channels"]:
    """The way from the background to each colour of the palette."""
    return torch.tensor(list(PALETTE.values())) - torch.tensor(BACKGROUND)


def paint(
    images: Float[Tensor, "batch channels rows columns"],
) -> tuple[
    Float[Tensor, "batch colours rows columns"],
    Int[Tensor, "batch rows columns"],
]:
    """How strong each colour is in each pixel, and which lies nearest."""
    ways = rays()
    away = images.clamp(0, 1) - torch.tensor(BACKGROUND)[:, None, None]
    dot = torch.einsum("bkrc,nk->bnrc", away, ways)
    strength = dot / ways.square().sum(1)[:, None, None]
    # Smallest distance to a ray is the largest cosine with it.
    return strength, (dot / ways.norm(dim=1)[:, None, None]).argmax(1)


def labels(
    mask: Bool[Tensor, "batch rows columns"],
) -> Int[Tensor, "batch rows columns"]:
    """Number the blobs: each has that of its first pixel."""
    numbers = torch.arange(NOTHING, dtype=torch.int16).view(SIDE, SIDE)
    found = torch.where(mask, numbers, NOTHING)
    while True:
        least = found.clone()
        for axis in (1, 2):
            long = SIDE - 1
            first, last = (found.narrow(axis, i, long) for i in (0, 1))
            ahead, behind = (least.narrow(axis, i, long) for i in (1, 0))
            torch.minimum(ahead, first, out=ahead)
            torch.minimum(behind, last, out=behind)
        least.masked_fill_(~mask, NOTHING)
        if torch.equal(least, found):
            return found.long()
        found = least


def largest(
    labels: Int[Tensor, "batch rows columns"],
) -> tuple[Int[Tensor, "batch"], Bool[Tensor, "batch things rows columns"]]:
    """How many blobs there are, and the pixels of the two largest."""
    flat = labels.flatten(1)
    areas = torch.zeros(len(flat), NOTHING + 1, dtype=torch.int64)
    areas.scatter_add_(1, flat, torch.ones_like(flat))
    areas = areas[:, :NOTHING]
    first = areas.topk(2, dim=1).indices
    return (areas >= SPECK).sum(1), labels[:, None] == first[..., None, None]


def colours(
    images: Float[Tensor, "batch channels rows columns"],
    blobs: Bool[Tensor, "batch things rows columns"],
    hue: Int[Tensor, "batch rows columns"],
) -> Int[Tensor, "batch things"]:
    """The colour of each blob; -1 if it has none or several.

    The edge makes a blob fainter, not another colour, so its distance to a
    colour is measured along that colour's ray.
    """
    area = blobs.sum((2, 3)).clamp(min=1)
    away = images.clamp(0, 1) - torch.tensor(BACKGROUND)[:, None, None]
    mean = torch.einsum("bkrc,btrc->btk", away, blobs.float())
    mean = mean / area[..., None]
    ways = rays()
    scale = (mean @ ways.T) / ways.square().sum(1)
    apart = (mean[:, :, None] - scale[..., None] * ways).norm(dim=-1)
    nearest = apart.argmin(-1)
    of_it = (hue[:, None] == nearest[..., None, None]) & blobs
    pure = of_it.sum((2, 3)) >= PURE * area
    strong = scale.gather(-1, nearest[..., None])[..., 0]
    near = apart.amin(-1) <= HUE * strong.clamp(min=0)
    return torch.where(pure & near, nearest, UNCLEAR)


def own_strength(
    strength: Float[Tensor, "batch colours rows columns"],
    blobs: Bool[Tensor, "batch things rows columns"],
    colour: Int[Tensor, "batch things"],
) -> Float[Tensor, "batch things rows columns"]:
    """Strength of each blob and of its edge, and zero elsewhere."""
    edge = torch.nn.functional.max_pool2d(blobs.float(), 3, 1, 1) > 0
    others = blobs.flip(1)
    index = colour.clamp(min=0)[..., None, None]
    index = index.expand(-1, -1, SIDE, SIDE)
    plain = strength.gather(1, index)
    any_colour = strength.amax(1, keepdim=True).expand_as(plain)
    own = torch.where(colour[..., None, None] < 0, any_colour, plain)
    return torch.where(edge & ~others, own, 0).clamp(0, 1)


def centres_of_mass(
    own: Float[Tensor, "batch things rows columns"],
) -> Float[Tensor, "batch things 2"]:
    """Centres (x, y) of strengths, in pixels; the middle if there are none."""
    middles = torch.arange(SIDE) + 0.5
    mass = own.sum((2, 3))
    x = (own * middles).sum((2, 3))
    y = (own * middles[:, None]).sum((2, 3))
    centre = torch.stack([x, y], -1) / mass.clamp(min=1e-6)[..., None]
    return torch.where(mass[..., None] > 0, centre, SIDE / 2)


def fitted(
    own: Float[Tensor, "batch things rows columns"],
    centre: Float[Tensor, "batch things 2"],
) -> tuple[
    Int[Tensor, "batch things"],
    Int[Tensor, "batch things"],
    Float[Tensor, "batch things"],
]:
    """Size and shape of the best template, -1 if none fits; its error."""
    kinds = [(i, j) for i in range(len(SIZES)) for j in range(len(SHAPES))]
    sizes, shapes = torch.tensor(kinds).T
    half = torch.tensor([HALF[size] for size in SIZES])[sizes]
    box = centre[:, :, None].repeat(1, 1, len(kinds), 1)
    # A triangle's mass lies a third of its half height below its middle.
    box[..., 1] -= torch.where(shapes == 2, half / 3, 0)
    wide = box.shape[:3]
    template = coverage(shapes.expand(wide), half.expand(wide), box)
    apart = (own[:, :, None] - template).square().sum((3, 4))
    error = apart / template.square().sum((3, 4)).clamp(min=1e-6)
    two = error.topk(2, largest=False)
    error, best = two.values[..., 0], two.indices[..., 0]
    fits = (error <= FIT) & (two.values[..., 1] - error >= LEAD)
    size = torch.where(fits, sizes[best], UNCLEAR)
    return size, torch.where(fits, shapes[best], UNCLEAR), error
