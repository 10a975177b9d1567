"""Classifier guidance: the gradient of a classifier pulls each step.

xt, t, time = x_t (a noisy picture), t = 1 … T, t / T
log p(y|xt) = what a classifier says of class y, having seen noise before
scale       = s: x_t is pulled as if log p counted s times
pull        = ∇ log p(y | x_t), by the pixels of x_t

Nothing is trained here, and no gradient runs through the denoiser.

Sources
- Dhariwal & Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis",
  arXiv 2105.05233 (algorithms 1 and 2; eq. 14: the change of ε).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.ddpm.network import sines
from llmnotes.diffusion.guidance.classifier_free import check_scale
from llmnotes.diffusion.guidance.guided import Guided


def pull(
    classifier: nn.Module,
    xt: Float[Tensor, "batch *shape"],
    time: Float[Tensor, "batch"],
    classes: Int[Tensor, "batch"],
) -> Float[Tensor, "batch *shape"]:
    """∇ log p(y | x_t), a row for each picture.

    The sum over the batch has the gradient of each, as long as pictures do
    not meet inside the classifier (no batch norm in training mode). Weights
    get no gradient; it works inside `torch.no_grad` and inference mode.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = xt.detach().clone().requires_grad_()
        logits = classifier(x, time.clone())
        check_classes(classes, logits)
        log_p = F.log_softmax(logits, dim=1)
        chosen = log_p.gather(1, classes.clone()[:, None])
        return torch.autograd.grad(chosen.sum(), x)[0]


class ClassifierGuidance(Guided):
    """A denoiser, and a classifier that pulls x_0 towards a class.

    ε becomes ε - s sigma ∇ log p, so x_0 becomes x_0 + s sigma²/alpha ∇ log p,
    and the mean of a step of DDPM moves by s β_t / √(1 - β_t) ∇ log p: that
    is algorithm 1's s Σ ∇ log p, to first order in β_t.

    The denoiser hears the class too; `Unconditional` keeps it from that.

    Raises `ValueError` for a scale that is not finite, and when asked for
    no class or one that the classifier does not know.

    Source: Dhariwal & Nichol 2021, algorithms 1 and 2.
    """

    def __init__(
        self, denoiser: Denoiser, classifier: nn.Module, scale: float
    ):
        check_scale(scale)
        super().__init__(denoiser)
        self.classifier, self.scale = classifier, scale

    def data(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Int[Tensor, "batch"] | None = None,
    ) -> Float[Tensor, "batch *shape"]:
        """x_0, pulled towards the classes of `condition`."""
        check_condition(condition)
        x0 = self.denoiser.data(xt, t, condition)
        if self.scale == 0:
            return x0
        time = (t / self.schedule.steps).to(xt.dtype)
        towards = pull(self.classifier, xt, time, condition)
        alpha, sigma = self.schedule.alpha(t, xt), self.schedule.sigma(t, xt)
        return x0 + self.scale * sigma**2 / alpha * towards


class NoisyClassifier(nn.Module):
    """An MLP that reads how noisy a picture is, beside the picture."""

    def __init__(self, size: int = 64, classes: int = 10, width: int = 128):
        super().__init__()
        self.width = width
        self.read = nn.Linear(size, width)
        self.time = nn.Linear(width, width)
        self.decide = nn.Sequential(
            nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, classes),
        )  # fmt: skip

    def forward(
        self,
        x: Float[Tensor, "batch *shape"],
        time: Float[Tensor, "batch"],
    ) -> Float[Tensor, "batch classes"]:
        """Logits of each picture at its own time, 0 to 1."""
        about = self.time(sines(time, self.width))
        return self.decide(self.read(x.flatten(1)) + about)


class AsIfClean(nn.Module):
    """A classifier that takes every picture for one without noise."""

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier = classifier

    def forward(
        self,
        x: Float[Tensor, "batch *shape"],
        time: Float[Tensor, "batch"],
    ) -> Float[Tensor, "batch classes"]:
        """Logits, whatever the time is."""
        return self.classifier(x, torch.zeros_like(time))


def check_condition(condition: Tensor | None) -> None:
    """Raise `ValueError` unless there is a class to be pulled towards."""
    if condition is None:
        raise ValueError(
            "condition: got None, expected the classes that the classifier "
            "pulls towards"
        )


def check_classes(classes: Tensor, logits: Tensor) -> None:
    """Raise `ValueError` unless the classifier knows the classes."""
    known = logits.shape[1]
    if (
        len(classes)
        and not 0 <= int(classes.min()) <= int(classes.max()) < known
    ):
        raise ValueError(
            f"condition: got classes {int(classes.min())} to "
            f"{int(classes.max())}, expected 0 to {known - 1}"
        )
