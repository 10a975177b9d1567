"""CLIP guidance: each step moves to where CLIP sees more of the caption.

clip    = a CLIP that looks at noisy pictures; `AsIfClean` makes one of a
          CLIP that has never seen any
logit   = e^s cos(f(x_t), g(c)): CLIP's logit of picture and caption
towards = ∇ logit by the pixels of x_t
scale   = s of the paper: x_t is pulled as if log p(c | x_t) were s · logit

Sources
- Nichol et al. 2022, "GLIDE", arXiv 2112.10741, §2.4 (the dot product in
  place of log p), §4.4 (noised CLIP).
- Radford et al. 2021, arXiv 2103.00020, §2.3 (the logit).
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.diffusion.clip import CLIP, CLIPConfig
from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.guidance import Guided
from llmnotes.diffusion.guidance.classifier_free import check_scale


class NoisedCLIP(nn.Module):
    """A CLIP that reads how noisy a picture is, as one more channel.

    Source: Nichol et al. 2022, §4.4.
    """

    def __init__(self, config: CLIPConfig, kind: type[CLIP] = CLIP):
        super().__init__()
        vision = config.vision_config
        more = replace(vision, num_channels=vision.num_channels + 1)
        self.clip = kind(replace(config, vision_config=more))

    @property
    def h(self) -> nn.Module:
        """The parts whose matrices Muon moves."""
        return self.clip.h

    def embed_images(
        self,
        x: Float[Tensor, "batch channels rows columns"],
        time: Float[Tensor, "batch"],
    ) -> Float[Tensor, "batch features"]:
        """Unit vectors of noisy pictures."""
        plane = time[:, None, None, None].expand_as(x[:, :1])
        return self.clip.embed_images(torch.cat([x, plane], dim=1))


class AsIfClean(nn.Module):
    """A CLIP that takes every picture for one without noise."""

    def __init__(self, clip: CLIP):
        super().__init__()
        self.clip = clip

    def embed_images(
        self,
        x: Float[Tensor, "batch channels rows columns"],
        time: Float[Tensor, "batch"],
    ) -> Float[Tensor, "batch features"]:
        """Unit vectors, whatever the time is."""
        return self.clip.embed_images(x)


def logits(
    noised: nn.Module,
    x: Float[Tensor, "batch channels rows columns"],
    time: Float[Tensor, "batch"],
    ids: Int[Tensor, "batch length"],
) -> Float[Tensor, "batch"]:
    """CLIP's logit of each picture with its own caption."""
    texts = noised.clip.embed_texts(ids)
    cosines = (noised.embed_images(x, time) * texts).sum(1)
    return noised.clip.logit_scale.exp() * cosines


def towards(
    noised: nn.Module,
    x: Float[Tensor, "batch channels rows columns"],
    time: Float[Tensor, "batch"],
    ids: Int[Tensor, "batch length"],
) -> Float[Tensor, "batch channels rows columns"]:
    """∇ logit by the pixels, a picture for each picture.

    Weights get no gradient; it works inside `torch.no_grad`.
    """
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        found = logits(noised, x, time.clone(), ids.clone())
        return torch.autograd.grad(found.sum(), x)[0]


class ClipGuidance(Guided):
    """A denoiser, and a CLIP that pulls x_0 towards the caption.

    x_0 becomes x_0 + scale sigma²/alpha ∇ logit, which is classifier guidance
    with a logit in place of log p. The denoiser hears the caption too;
    `Unconditional` keeps it from that.

    Raises `ValueError` for a scale that is not finite, and without captions.

    Source: Nichol et al. 2022, §2.4.
    """

    def __init__(self, denoiser: Denoiser, noised: nn.Module, scale: float):
        check_scale(scale)
        super().__init__(denoiser)
        self.noised, self.scale = noised, scale

    def data(
        self,
        xt: Float[Tensor, "batch channels rows columns"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch channels rows columns"]:
        """x_0, pulled towards the captions of `condition`."""
        check_captions(condition)
        x0 = self.denoiser.data(xt, t, condition)
        if self.scale == 0:
            return x0
        time = (t / self.schedule.steps).to(xt.dtype)
        pull = towards(self.noised, xt, time, condition)
        alpha, sigma = self.schedule.alpha(t, xt), self.schedule.sigma(t, xt)
        return x0 + self.scale * sigma**2 / alpha * pull


def check_captions(condition: Any) -> None:
    """Raise `ValueError` unless there is something to be pulled towards."""
    if not isinstance(condition, Tensor):
        raise ValueError(
            f"condition: got {type(condition).__name__}, expected ids of "
            "captions: CLIP has to read them"
        )
