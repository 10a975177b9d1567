"""CLIP trained on noisy pictures, so that it can guide from the first step.

last = the largest t of the noise: T for a noised CLIP, 0 for a clean one
same = which captions of a batch mean what is in a picture; more than its own
       where a scene comes twice

Sources
- Nichol et al. 2022, "GLIDE", arXiv 2112.10741, §4.4 (noised CLIP: the noise
  of the diffusion model, the loss of CLIP).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes import scenes
from llmnotes.diffusion.clip import multi_positive_loss
from llmnotes.diffusion.ddpm.schedule import Levels
from llmnotes.diffusion.ddpm.task import generator
from llmnotes.diffusion.glide.task import pixels, spread
from llmnotes.scenes import VOCABULARY, Scene, canonical
from llmnotes.task import Task

JUDGED = 256


class NoisyPairs(Task):
    """Find the caption of a noisy picture, and the picture of a caption."""

    unit, measure = "pairs", "loss"

    def __init__(
        self, schedule: Levels, last: int, *,
        among: Sequence[Scene] | None = None, size: int = 128, seed: int = 0,
    ):  # fmt: skip
        check_last(last, schedule.steps)
        self.schedule, self.last = schedule, last
        self.among, self.size, self.seed = among, size, seed
        drawn = scenes.batch(0, 0, JUDGED, among, split="test")
        self.judged = self.noised(drawn, generator(0))

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Noisy pictures, their times, ids, and who means the same."""
        drawn = scenes.batch(self.seed, step, self.size, self.among)
        return self.noised(drawn, generator(self.seed, step))

    def noised(self, drawn: scenes.Batch, draw: torch.Generator) -> tuple:
        """A batch under noise of all levels up to the largest."""
        x0 = pixels(drawn.images)
        t = spread(len(x0), self.last + 1, draw) - 1
        noise = torch.randn(x0.shape, generator=draw)
        x = self.schedule.noisy(x0, t, noise)
        meant = [canonical(scene) for scene in drawn.scenes]
        same = torch.tensor([[a == b for b in meant] for a in meant])
        time = t / self.schedule.steps
        return x, time, VOCABULARY.encode(drawn.captions), same

    def loss(self, model: nn.Module, batch: tuple) -> Float[Tensor, ""]:
        """CLIP's, in which all that means the same is right."""
        x, time, ids, same = batch
        texts = model.clip.embed_texts(ids)
        logits = model.embed_images(x, time) @ texts.T
        return multi_positive_loss(model.clip.logit_scale.exp() * logits, same)

    def evaluate(self, model: nn.Module) -> float:
        """The same on other pictures, always with the same noise."""
        return self.loss(model, self.judged).item()


def check_last(last: int, steps: int) -> None:
    """Raise `ValueError` unless there is such a step."""
    if not 0 <= last <= steps:
        raise ValueError(f"last: got {last}, expected 0 to {steps}")
