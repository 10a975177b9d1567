"""What denoisers of digits draw: trained, sampled in T steps, judged.

reader's seed = the same for all, so that distances can be compared
"""

import torch

from llmnotes.diffusion.ddpm import quality, runs, sample
from llmnotes.diffusion.ddpm.model import chain
from llmnotes.diffusion.ddpm.task import Denoising, digits, generator
from llmnotes.modes import evaluating
from tests.diffusion.ddpm import denoisers

SHAPE = 8, 8
SHOWN = 9  # of the digits of `exhibit`, the one whose way is told


def judged(target, schedule, error, clip, seed):
    """The measures of what a denoiser draws, and its training's seconds."""
    torch.set_num_threads(1)
    denoiser, seconds = denoisers.with_seconds(
        target, schedule, error, seed, drop=0.0
    )
    return drawn(denoiser, seed, clip) | {"seconds": seconds}


def drawn(denoiser, seed, clip=1.0):
    """As many digits of each class as are held out, in T steps."""
    return quality.judged(
        lambda classes, draw: sample(
            denoiser, (len(classes), *SHAPE), classes, generator=draw,
            clip=clip,
        ),
        seed=seed, sets=1,
    )  # fmt: skip


class Watched(Denoising):
    """Also draws digits whenever it is asked how the model does."""

    looks: list

    def evaluate(self, model):
        """The loss, as ever; the samples' measures go into `looks`."""
        loss = super().evaluate(model)
        found = drawn(model, self.seed)
        names = "accuracy", "frechet", "nearest"
        self.looks.append([loss, *(found[name] for name in names)])
        return loss


def watched(every, seed):
    """Loss and samples of a v model while it learns."""
    torch.set_num_threads(1)
    denoiser = runs.untrained(seed=seed)
    task = Watched(*digits(), steps=denoiser.schedule.steps, seed=seed)
    task.looks = []
    config = runs.config(seed=seed, every=every)
    runs.learn(denoiser, task, config, progress=False)
    return task.looks


def exhibit(seed, digits_of_each=3):
    """Digits that a v model draws, and the way of one there, in 17 levels."""
    denoiser = denoisers.trained(seed=seed)
    classes = torch.arange(10).repeat_interleave(digits_of_each)
    shape = len(classes), *SHAPE
    with evaluating(denoiser):
        states = list(chain(denoiser, shape, classes,
                            generator=generator(seed, 5)))  # fmt: skip
    return states, classes


def spelled(picture):
    """Grey levels as 64 of the digits 0 to f, row by row."""
    levels = ((picture.clamp(-1, 1) + 1) * 7.5).round().int().flatten()
    return "".join(f"{level:x}" for level in levels.tolist())
