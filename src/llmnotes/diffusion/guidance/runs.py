"""Training a classifier of digits, on noisy ones or on clean ones: seconds.

x0, t, noise = as in `Denoising`: t is drawn for each picture, all alike
clean        = t = 0: what a classifier sees that was made for pictures
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmnotes import train
from llmnotes.diffusion.ddpm import Schedule, runs
from llmnotes.diffusion.ddpm.task import Denoising, digits
from llmnotes.diffusion.guidance.classifier import NoisyClassifier

STEPS, RATE = 1500, 3e-3


class Recognizing(Denoising):
    """Name the digit under the noise, having been told how much it is."""

    def __init__(self, schedule: Schedule, *, size: int = 128, seed: int = 0):
        super().__init__(*digits(), steps=schedule.steps, size=size, seed=seed)
        self.schedule = schedule

    def loss(self, model: nn.Module, batch: tuple) -> Tensor:
        """Cross-entropy, in nats."""
        x0, classes, t, noise = batch
        xt = self.schedule.noisy(x0, t, noise)
        return F.cross_entropy(model(xt, (t / self.steps).float()), classes)

    def evaluate(self, model: nn.Module) -> float:
        """The same on pictures held out, always with the same noise."""
        return float(self.loss(model, self.judged))


class RecognizingClean(Recognizing):
    """Name a digit without noise."""

    def noise(self, size: int, draw: torch.Generator) -> tuple:
        """No noise: every t is 0."""
        t, noise = super().noise(size, draw)
        return torch.zeros_like(t), noise


def recognizer(
    task: Recognizing, steps: int = STEPS, rate: float = RATE, seed: int = 0
) -> NoisyClassifier:
    """A classifier that has learned a task; frozen."""
    torch.manual_seed(seed)
    classifier = NoisyClassifier()
    config = runs.config(steps, rate, seed)
    train.fit(classifier, task, config, progress=False)
    return classifier.requires_grad_(False).eval()
