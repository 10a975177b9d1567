"""Stable Diffusion 1 from a folder: captions in, pictures out.

    unet/, vae/      the two networks, as `files` reads them
    text_encoder/    CLIP's text tower, tokenizer/ its vocabulary
    scheduler/       noise levels, target and steps, as `sampler` reads them
    context   = a vector for each token of a caption, padding included
    denoiser  = the U-Net with its schedule: what samplers ask
    scale     = s of classifier-free guidance, against the empty caption

The parts are those of the book: DDIM walks, guidance leads, CLIP reads, the
autoencoder draws. No weights of the real model were at hand: the whole is
proved against diffusers' pipeline on small random ones.

Sources
- Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
  Models", arXiv 2112.10752, §3.
- diffusers 0.42: `StableDiffusionPipeline`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes import foreign
from llmnotes.diffusion.clip.config import TextConfig
from llmnotes.diffusion.clip.model import TextModel
from llmnotes.diffusion.ddim import DDIM, Solver, solve
from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.ddpm.model import draw
from llmnotes.diffusion.ddpm.schedule import check_times
from llmnotes.diffusion.guidance import ClassifierFree
from llmnotes.diffusion.latent_diffusion.autoencoder import Autoencoder
from llmnotes.diffusion.latent_diffusion.files import (
    read_autoencoder,
    read_unet,
)
from llmnotes.diffusion.latent_diffusion.img2img import finish, left
from llmnotes.diffusion.latent_diffusion.sampler import (
    SamplerConfig,
    read_sampler,
)
from llmnotes.diffusion.latent_diffusion.tokens import (
    CLIPTokenizer,
    read_tokenizer,
)
from llmnotes.diffusion.latent_diffusion.unet import UNet
from llmnotes.models.llama.files import Undrawn
from llmnotes.modes import evaluating

TEXT = {
    "model_type": ("clip_text_model",),
    "attention_dropout": (0.0,),
    "use_attention_mask": (False,),  # padding is read like any token
}


class FromZero(Denoiser):
    """A denoiser whose network counts steps from 0, as diffusers does."""

    def forward(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """What the network says of latents, each at its own t."""
        check_times(t, xt, self.schedule.steps, first=1)
        return self.network(xt, t - 1, condition)


class StableDiffusion(nn.Module):
    """Draws what captions say.

    Raises `ValueError` for parts that do not fit together.
    """

    def __init__(
        self,
        unet: UNet,
        autoencoder: Autoencoder,
        text_encoder: TextModel,
        tokenizer: CLIPTokenizer,
        sampler: SamplerConfig,
    ):
        super().__init__()
        check_parts(unet, autoencoder, text_encoder, tokenizer)
        self.denoiser = FromZero(unet, sampler.schedule(), sampler.target())
        self.autoencoder, self.text_encoder = autoencoder, text_encoder
        self.tokenizer, self.sampler = tokenizer, sampler

    def read(
        self, captions: Sequence[str]
    ) -> Float[Tensor, "batch length context_width"]:
        """What the U-Net reads of captions.

        Raises `ValueError` for a text that is no list of them.
        """
        check_captions(captions)
        device = next(self.text_encoder.parameters()).device
        return self.text_encoder.hidden(self.tokenizer(captions).to(device))

    def latents(
        self,
        noise: Float[Tensor, "batch channels rows columns"],
        captions: Sequence[str],
        *,
        steps: int = 50,
        solver: Solver = DDIM(),  # noqa: B008, it is frozen
        generator: torch.Generator | None = None,
        **guidance: Any,
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Latents out of noise, one for each caption; never clipped.

        `guidance` goes to `asked`.
        """
        with evaluating(self):
            denoiser, context = self.asked(captions, **guidance)
            return solve(
                denoiser, noise, self.sampler.times(steps), context,
                solver=solver, generator=generator, clip=None,
            )  # fmt: skip

    def asked(
        self,
        captions: Sequence[str],
        *,
        scale: float = 7.5,
        negative: str = "",
    ) -> tuple[ClassifierFree, Float[Tensor, "batch length context_width"]]:
        """The denoiser under guidance, and what it is to read."""
        context, against = self.read(captions), self.read([negative])
        return ClassifierFree(self.denoiser, scale, against), context

    def draw(
        self,
        captions: Sequence[str],
        *,
        generator: torch.Generator,
        size: tuple[int, int] | None = None,
        **options: Any,
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Pictures between 0 and 1, one for each caption.

        `size` are rows and columns in pixels, by default those the model
        was trained on. `options` go to `latents`.

        Raises `ValueError` for a size that the factors do not divide.
        """
        unet = self.denoiser.network
        shape = len(captions), unet.config.in_channels, *self.grid(size)
        weight = next(unet.parameters())
        noise = draw(shape, weight.device, generator).to(weight.dtype)
        found = self.latents(noise, captions, generator=generator, **options)
        return self.shown(found)

    def redraw(
        self,
        pictures: Float[Tensor, "batch channels rows columns"],
        captions: Sequence[str],
        *,
        generator: torch.Generator,
        strength: float = 0.8,
        steps: int = 50,
        solver: Solver = DDIM(),  # noqa: B008, it is frozen
        **guidance: Any,
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Pictures between 0 and 1, changed into what captions say.

        Of the steps a share of `strength` is made. Latents and their noise
        are drawn. `guidance` goes to `asked`.

        Raises `ValueError` for a strength outside (0, 1] or too small for
        one step, for sizes that the factors do not divide, and unless there
        is a caption for each picture.
        """
        check_captions(captions, pictures)
        self.grid(tuple(pictures.shape[2:]))
        times = left(self.sampler.times(steps), strength, steps)
        with evaluating(self):
            denoiser, context = self.asked(captions, **guidance)
            x0 = self.autoencoder.to_latents(2 * pictures - 1, generator)
            found = finish(
                denoiser, x0, times, context,
                solver=solver, generator=generator, clip=None,
            )  # fmt: skip
        return self.shown(found)

    def shown(
        self, latents: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch _ _ _"]:
        """Latents as pictures between 0 and 1."""
        # Channels last in memory: a tenth less time for so many convolutions.
        latents = latents.contiguous(memory_format=torch.channels_last)
        with evaluating(self):
            pictures = self.autoencoder.to_pictures(latents)
        return (pictures / 2 + 0.5).clamp(0, 1).contiguous()

    def grid(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """Rows and columns of latents for a picture of this size."""
        unet = self.denoiser.network.config
        factor = self.autoencoder.config.factor
        if size is None:
            side = unet.sample_size or 64
            return side, side
        check_size(size, factor * unet.factor)
        return size[0] // factor, size[1] // factor


def from_pretrained(folder: str | Path) -> StableDiffusion:
    """Return the Stable Diffusion 1 that lies in `folder`.

    Only safetensors are read. Its safety checker is not.

    Raises `ValueError` naming the file, and all in it that does not fit.
    """
    folder = Path(folder)
    return StableDiffusion(
        read_unet(folder / "unet"),
        read_autoencoder(folder / "vae"),
        read_text_encoder(folder / "text_encoder"),
        read_tokenizer(folder / "tokenizer"),
        read_sampler(folder / "scheduler"),
    )


def read_text_encoder(folder: str | Path) -> TextModel:
    """Return CLIP's text tower that lies in `folder`, in evaluation mode.

    Raises `ValueError` naming the file, and all in it that does not fit.
    """
    path = Path(folder) / foreign.CONFIG
    given = foreign.read_json(path)
    config = foreign.shape(path, given, TextConfig, assumed=TEXT)
    with Undrawn():
        model = TextModel(config)
    foreign.load(model, folder, rename=rename)
    return model.eval()


def rename(name: str) -> str | None:
    """Their name of a tensor -> ours; None for places that are numbered."""
    if name.endswith("embeddings.position_ids"):
        return None
    return name.removeprefix("text_model.")


def check_parts(
    unet: UNet,
    autoencoder: Autoencoder,
    text_encoder: TextModel,
    tokenizer: CLIPTokenizer,
) -> None:
    """Raise `ValueError` unless each part gives what the next one reads."""
    latent, text = autoencoder.config.latent_channels, text_encoder.config
    longest = text.max_position_embeddings
    for name, got, whose, wanted in (
        ("in_channels", unet.config.in_channels, "latent_channels", latent),
        ("out_channels", unet.config.out_channels, "latent_channels", latent),
        (
            "cross_attention_dim",
            unet.config.cross_attention_dim,
            "the text encoder's hidden_size",
            text.hidden_size,
        ),
    ):
        if got != wanted:
            raise ValueError(f"{name}: got {got}, expected {whose} = {wanted}")
    for name, got, whose, most in (
        ("tokenizer", tokenizer.size, "vocab_size", text.vocab_size),
        ("longest", tokenizer.longest, "max_position_embeddings", longest),
    ):
        if got > most:
            raise ValueError(
                f"{name}: got {got}, expected at most {whose} = {most}"
            )


def check_captions(
    captions: Sequence[str], pictures: Tensor | None = None
) -> None:
    """Raise `ValueError` unless these are captions, one for each picture."""
    if isinstance(captions, str) or not len(captions):
        raise ValueError(
            f"captions: got {captions!r}, expected a list of captions"
        )
    if pictures is not None and len(captions) != len(pictures):
        raise ValueError(
            f"captions: got {len(captions)}, expected {len(pictures)}, one "
            "for each picture"
        )


def check_size(size: tuple[int, int], factor: int) -> None:
    """Raise `ValueError` unless rows and columns are multiples of factor."""
    if any(side < 1 or side % factor for side in size):
        raise ValueError(f"size: got {size}, expected multiples of {factor}")
