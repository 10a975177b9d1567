"""diffusers' Stable Diffusion with random weights, small enough for a test."""

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel

from tests.diffusion.latent_diffusion import captions
from tests.diffusion.latent_diffusion.witness import (
    SMALL,
    scatter,
    their_autoencoder,
    their_unet,
)

PROMPTS = ["a small red circle", "a large blue square left of a circle"]
SHAPE = SMALL | dict(
    in_channels=3, out_channels=3, cross_attention_dim=12, sample_size=8
)
LATENT = dict(latent_channels=3, block_out_channels=(6, 9), norm_num_groups=3)
SD1 = dict(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    steps_offset=1,
    set_alpha_to_one=False,
)


def their_text_encoder(width=12, heads=3, longest=captions.LONGEST):
    """transformers' text tower."""
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(captions.vocabulary()[0]),
        hidden_size=width,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=heads,
        max_position_embeddings=longest,
        eos_token_id=2,
    )
    return scatter(CLIPTextModel(config))


def theirs(unet=SHAPE, autoencoder=LATENT, text=None):
    """Their pipeline in float32."""
    pipeline = StableDiffusionPipeline(
        vae=their_autoencoder(autoencoder).float(),
        text_encoder=text or their_text_encoder(),
        tokenizer=captions.theirs(),
        unet=their_unet(unet).float(),
        scheduler=DDIMScheduler(**SD1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def in_float64(pipeline, kind=StableDiffusionPipeline):
    """The same in float64; noise levels, too, which theirs has in float32."""
    scheduler = DDIMScheduler(**SD1, clip_sample=False)
    roots = SD1["beta_start"] ** 0.5, SD1["beta_end"] ** 0.5
    betas = torch.linspace(*roots, 1000, dtype=torch.float64) ** 2
    scheduler.alphas_cumprod = (1 - betas).cumprod(0)
    scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    parts = pipeline.components | dict(scheduler=scheduler)
    wide = kind(**parts, requires_safety_checker=False)
    wide.set_progress_bar_config(disable=True)
    for module in (wide.unet, wide.vae, wide.text_encoder):
        module.double()
    return wide
