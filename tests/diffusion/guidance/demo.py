"""The small denoiser that draws in the reader's browser, and its file.

greys   = a picture as rows of letters, 0 (paper) to f (ink)
normals = the noise that diffusion.js draws from a seed, written again

The file is docs/results/diffusion/guidance.safetensors: weights in 16 bits,
made by `bench_what_the_browser_draws` and read by the page alone.
"""

import math

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from llmnotes.diffusion.ddim import solve
from llmnotes.diffusion.ddim.spacing import visited
from llmnotes.diffusion.ddpm import MLPConfig, runs
from llmnotes.diffusion.guidance import ClassifierFree
from tests.contests import ROOT

FILE = ROOT / "docs/results/diffusion/guidance.safetensors"
SHAPE = MLPConfig(width=96, depth=2, about=64)
LEARN, RATE = 2000, 1e-2
DIGITS, SIDE, GREYS = torch.arange(10), 8, 15
SCALE, STEPS, SEED = 3.0, 10, 1  # where the sliders stand at first
OTHERS = 0.0, 1.0, 2.0, 4.0, 8.0


def write(denoiser, path, **about):
    """Keep a denoiser's weights in 16 bits; `about` says where from."""
    weights = denoiser.network.state_dict().items()
    halves = {name: weight.half().contiguous() for name, weight in weights}
    save_file(halves, path, {name: str(said) for name, said in about.items()})


def read(path=FILE):
    """The denoiser of a file, in 32 bits, and what the file says of it."""
    with safe_open(path, "pt") as file:
        weights = {name: file.get_tensor(name).float() for name in file.keys()}
        about = file.metadata()
    denoiser = runs.untrained("data", config=SHAPE)
    denoiser.network = denoiser.network.average
    denoiser.network.load_state_dict(weights)
    return denoiser.requires_grad_(False).eval(), about


def drawn(denoiser, scale=SCALE, steps=STEPS, seed=SEED):
    """A digit of each class, out of the browser's noise."""
    noise = torch.tensor(normals(seed, 10 * SIDE * SIDE)).float()
    times = visited(denoiser.schedule.steps, steps)
    guided = ClassifierFree(denoiser, scale)
    return solve(guided, noise.view(10, SIDE, SIDE), times, DIGITS)


def greys(pictures):
    """Each picture as eight words of eight letters."""
    levels = ((pictures + 1) / 2 * GREYS + 0.5).floor().clamp(0, GREYS)
    return [
        " ".join("".join(f"{v:x}" for v in row) for row in picture)
        for picture in levels.int().tolist()
    ]


def normals(seed, count):
    """Xorshift (Marsaglia 2003) on 32 bits, then pairs (Box, Muller 1958)."""
    state = seed * 2654435761 % 2**32 or 1

    def uniform():
        nonlocal state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        return (state + 0.5) / 2**32

    for _ in range(20):
        uniform()
    found = []
    while len(found) < count:
        far = math.sqrt(-2 * math.log(uniform()))
        turn = 2 * math.pi * uniform()
        found += [far * math.cos(turn), far * math.sin(turn)]
    return found[:count]
