"""CPU time of a digit by sampler: it counts where others use the machine too.

The wall clock is measured in bench_ddim_speed.py, on a quiet machine.
"""

import statistics
import time

import torch

from llmnotes.diffusion import ddpm
from llmnotes.diffusion.ddim import DDIM, DPMSolver2M, sample
from llmnotes.diffusion.ddpm.task import SHAPE, generator
from tests.diffusion.ddim import draws

PICTURES, ROUNDS = 100, 3
SAMPLERS = {
    ("DDIM", 10): DDIM(),
    ("DPM-Solver++ 2M", 10): DPMSolver2M(),
    ("DDPM", 1000): None,
}


def by_sampler(seed):
    """CPU seconds of a digit for each sampler, the median of its rounds."""
    denoiser, spent = draws.model("v", seed), {name: [] for name in SAMPLERS}
    go(denoiser, ("DDIM", 10))  # what is done once only
    for _ in range(ROUNDS):
        for name, found in spent.items():
            start = time.process_time()
            go(denoiser, name)
            found.append((time.process_time() - start) / PICTURES)
    return [statistics.median(found) for found in spent.values()]


def go(denoiser, name):
    """A hundred digits by one sampler."""
    classes = torch.arange(PICTURES) % 10
    given = denoiser, (PICTURES, *SHAPE), classes
    if SAMPLERS[name] is None:
        return ddpm.sample(*given, generator=generator(0))
    return sample(
        *given, generator=generator(0), steps=name[1], solver=SAMPLERS[name]
    )
