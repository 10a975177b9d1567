"""DDPM: pictures from noise, one small step at a time."""

from llmnotes.diffusion.ddpm.ema import EMA
from llmnotes.diffusion.ddpm.model import (
    Denoiser,
    chain,
    denoising_loss,
    sample,
)
from llmnotes.diffusion.ddpm.network import MLPConfig, ResidualMLP
from llmnotes.diffusion.ddpm.schedule import (
    Levels,
    Schedule,
    cosine,
    linear,
    scaled_linear,
)
from llmnotes.diffusion.ddpm.targets import Data, Noise, Target, Velocity
