"""Digits drawn under guidance, each way judged in the same manner.

judged = [accuracy, Fréchet distance, precision, recall, extreme]: means of
         three sets of as many pictures as are held out; extreme is the share
         of pixels at -1 or 1, or beyond, before anything is cut
start  = a denoiser that has learned with a share of its labels dropped
"""

import functools

from llmnotes.diffusion.ddim import sample
from llmnotes.diffusion.ddpm import MLPConfig, quality
from llmnotes.diffusion.ddpm.task import digits
from llmnotes.diffusion.guidance import (
    AsIfClean,
    ClassifierFree,
    ClassifierGuidance,
    Interval,
    Rescaled,
    Thresholded,
    Unconditional,
    dynamic,
)
from llmnotes.diffusion.guidance.runs import (
    Recognizing,
    RecognizingClean,
    recognizer,
)
from tests.diffusion.ddpm import denoisers

SHAPE = MLPConfig(width=192, depth=3)
LEARN, RATE, STEPS = 1500, 3e-3, 25
EXTREME = 0.999
TASKS = {"noise-aware": Recognizing, "clean": RecognizingClean}
NAMES = "accuracy", "frechet", "precision", "recall"


@functools.cache
def start(target="data", drop=0.3, seed=0):
    """A denoiser, and the CPU seconds that its training took."""
    recipe = target, "cosine", "l2", seed, drop, LEARN, RATE, SHAPE
    denoiser, seconds = denoisers.with_seconds(*recipe)
    denoiser.network = denoiser.network.average
    return denoiser.requires_grad_(False).eval(), seconds


def judged(denoiser, seed=0, clip=1.0, steps=STEPS):
    """The measures of what DDIM draws with it."""
    extreme = []

    def make(classes, draw):
        shape = len(classes), *digits()[0][0].shape[1:]
        drawn = sample(
            denoiser, shape, classes, generator=draw, steps=steps, clip=clip
        ).detach()
        extreme.append((drawn.abs() >= EXTREME).float().mean().item())
        return drawn

    found = quality.judged(make, seed)
    return [*(found[n] for n in NAMES), sum(extreme) / len(extreme)]


def free(target, drop, scale, seed):
    """Classifier-free guidance at a scale; and the seconds of training."""
    denoiser, seconds = start(target, drop, seed)
    return [*judged(ClassifierFree(denoiser, scale), seed), seconds]


def pulled(kind, rate, seed, scale=2.0):
    """Classifier guidance of a denoiser that hears no class."""
    denoiser, _ = start(seed=seed % 100)  # of 100, which tunes, that of 0
    classifier = learned(kind, rate, seed)
    guided = ClassifierGuidance(Unconditional(denoiser), classifier, scale)
    return judged(guided, seed)


def pulled_at(scale, kind, rate, seed):
    """The same as a job of a sweep."""
    return pulled(kind, rate, seed, scale)


@functools.cache
def learned(kind, rate, seed):
    """A classifier, as guidance asks it."""
    task = TASKS[kind](start()[0].schedule, seed=seed)
    classifier = recognizer(task, rate=rate, seed=seed)
    return AsIfClean(classifier) if kind == "clean" else classifier


def limited(way, scale, seed):
    """Ways to keep strong guidance within bounds."""
    denoiser, _ = start(seed=seed)
    guided = ClassifierFree(denoiser, scale)
    last = denoiser.schedule.steps
    made = {
        "nothing": guided,
        "static": guided,
        "dynamic at .995": Thresholded(guided, dynamic),
        "dynamic at .9": Thresholded(
            guided, functools.partial(dynamic, percentile=0.9)
        ),
        "rescaled": Rescaled(denoiser, scale),
        "noisier half only": Interval(
            denoiser, scale, first=last // 2 + 1, last=last
        ),
        "cleaner half only": Interval(
            denoiser, scale, first=1, last=last // 2
        ),
    }[way]
    return judged(made, seed, None if way == "nothing" else 1.0)
