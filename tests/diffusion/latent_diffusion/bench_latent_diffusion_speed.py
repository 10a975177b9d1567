"""How long a picture takes, beside diffusers' Stable Diffusion."""

import statistics

import jaxtyping
import pytest
import torch

from tests.diffusion.latent_diffusion import pipelines
from tests.diffusion.latent_diffusion.bench_latent_diffusion import saved

UNET = dict(
    block_out_channels=(32, 64, 128, 128),
    attention_head_dim=8,
    cross_attention_dim=64,
    norm_num_groups=8,
    sample_size=16,
)
VAE = dict(
    block_out_channels=(16, 32, 64, 64), layers_per_block=2, norm_num_groups=8
)
ROUNDS = 9


@pytest.fixture
def fair_ground():
    """One thread for everybody, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


def contestants(ours, theirs, count, steps):
    """Both draw the same pictures, or there is nothing to race."""
    told = pipelines.PROMPTS[:1] * count
    noise = torch.randn(
        count, 4, 16, 16, generator=torch.Generator().manual_seed(0)
    )

    def mine():
        return ours.shown(ours.latents(noise, told, steps=steps))

    def other():
        return theirs(
            told, latents=noise, num_inference_steps=steps, output_type="pt"
        ).images

    torch.testing.assert_close(mine(), other(), rtol=0, atol=1e-3)
    return {"ours": mine, "diffusers": other}


def sd_shaped():
    """Stable Diffusion's four resolutions, a tenth as wide; both."""
    text = pipelines.their_text_encoder(64, 4)
    theirs = pipelines.theirs(UNET, VAE, text)
    return saved(theirs), theirs


@pytest.mark.timing
def bench_a_picture_beside_diffusers(fair_ground, race, record):
    ours, theirs = sd_shaped()
    calls = {}
    for count in (1, 4):
        both = contestants(ours, theirs, count, 10)
        calls |= {(who, count): call for who, call in both.items()}
    found = race(calls, rounds=ROUNDS, slice_s=0.2)
    spent = {name: statistics.median(s) for name, s in found.items()}
    record(
        "beside_diffusers",
        kind="timing",
        seed=0,
        title="A picture of 128 × 128 in ten steps of DDIM, guided: the same "
        "weights, noise and pictures",
        prediction="As long as diffusers' pipeline or less.",
        columns={"whose": "", "count": "", "seconds": "s", "share": ""},
        labels={"count": "pictures at once", "seconds": "time per picture",
                "share": "of diffusers' time"},
        rows=[
            (who, count, seconds / count, seconds / spent["diffusers", count])
            for (who, count), seconds in spent.items()
        ],
    )  # fmt: skip
