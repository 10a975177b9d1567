"""The same samples, measured without being forced into the range of pictures.

A module of its own, so that the runs of `quality_runs` stay what they are.
"""

import torch

from llmnotes.diffusion.ddpm import quality, sample
from llmnotes.diffusion.ddpm.task import digits, generator
from tests.diffusion.ddpm import denoisers
from tests.diffusion.ddpm.quality_runs import SHAPE


def judged(target, schedule, error, seed):
    """The measures of what is drawn without a clip, as it comes."""
    torch.set_num_threads(1)
    denoiser, seconds = denoisers.with_seconds(
        target, schedule, error, seed, drop=0.0
    )
    _, (_, classes) = digits()
    made = sample(
        denoiser, (len(classes), *SHAPE), classes,
        generator=generator(seed, 0), clip=None,
    )  # fmt: skip
    return quality.measures(made, classes) | {"seconds": seconds}
