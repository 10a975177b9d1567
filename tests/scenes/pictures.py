"""Pictures that no scene has: what the checker must not be fooled by."""

import torch

from llmnotes.scenes.drawing import BACKGROUND, PALETTE, SIDE

MIDDLES = torch.arange(SIDE) + 0.5
Y, X = torch.meshgrid(MIDDLES, MIDDLES, indexing="ij")


def covered(depth):
    """Coverage of what is `depth` pixels inside an outline."""
    return (depth + 0.5).clamp(0, 1)


def circle(half, x=8.2, y=7.9):
    """Coverage of a circle."""
    return covered(half - ((X - x) ** 2 + (Y - y) ** 2).sqrt())


def square(half, x=8.2, y=7.9):
    """Coverage of a square around a circle of that half."""
    away = torch.maximum((X - x).abs(), (Y - y).abs())
    return covered(half - away)


def triangle(half, x=8.2, y=7.9, turns=0):
    """Coverage of a triangle, turned by quarters."""
    across, down = X - x, Y - y
    for _ in range(turns):
        across, down = down, -across
    sides = (down + half - 2 * across.abs()) / 5**0.5
    return covered(torch.minimum(half - down, sides))


def picture(*covers):
    """Paint (coverage, colour) one over the other; a name or RGB."""
    image = torch.tensor(BACKGROUND)[:, None, None].expand(3, SIDE, SIDE)
    for cover, colour in covers:
        rgb = torch.tensor(PALETTE.get(colour, colour))[:, None, None]
        image = image + (rgb - image) * cover
    return image


def noisy(images, sigma, seed=0):
    """Add Gaussian noise."""
    generator = torch.Generator().manual_seed(seed)
    return images + sigma * torch.randn(images.shape, generator=generator)
