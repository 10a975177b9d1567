"""Guidance: a condition is followed more than it was learned."""

from llmnotes.diffusion.guidance.classifier import (
    AsIfClean,
    ClassifierGuidance,
    NoisyClassifier,
    pull,
)
from llmnotes.diffusion.guidance.classifier_free import (
    ClassifierFree,
    Interval,
    Rescaled,
    guide,
    rescaled,
)
from llmnotes.diffusion.guidance.conditions import dropped, stacked, together
from llmnotes.diffusion.guidance.gaussian import (
    GaussianDenoiser,
    Normal,
    drawn,
    drawn_with_noise,
    tilted,
)
from llmnotes.diffusion.guidance.guided import (
    Guided,
    Thresholded,
    Unconditional,
)
from llmnotes.diffusion.guidance.thresholding import dynamic, static
