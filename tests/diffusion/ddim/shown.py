"""Pictures to look at: one noise by many steps, and digits there and back."""

import torch

from llmnotes.diffusion.ddim import DDIM, encode, sample, solve, visited
from llmnotes.diffusion.ddpm.task import SHAPE, digits, generator
from tests.diffusion.ddim import draws
from tests.diffusion.ddpm.quality_runs import spelled

CLASSES = 3, 5, 7
COUNTS = 1, 3, 5, 10, 50, 1000
DRAWN = 9  # tells the draws of these pictures from others


def by_steps(eta, steps, seed):
    """A digit of each class, always out of the same noise."""
    found = sample(
        draws.model("v", seed),
        (len(CLASSES), *SHAPE),
        torch.tensor(CLASSES),
        generator=generator(seed, DRAWN),
        steps=steps,
        solver=DDIM(eta),
    )
    return [spelled(picture) for picture in found]


def there_and_back(steps, seed):
    """A held-out digit of each class: itself, its noise, and what returns."""
    denoiser = draws.model("v", seed)
    pictures, classes = digits()[1]
    first = [int((classes == c).nonzero()[0]) for c in CLASSES]
    pictures, classes = pictures[first], classes[first]
    noise = encode(denoiser, pictures, classes, steps=steps)
    times = visited(denoiser.schedule.steps, steps)
    again = solve(denoiser, noise, times, classes, clip=None)
    return [
        [spelled(x), spelled(z / 2), spelled(y)]
        for x, z, y in zip(pictures, noise, again, strict=True)
    ]
