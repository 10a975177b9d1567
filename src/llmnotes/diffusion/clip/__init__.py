"""CLIP: two towers, the losses that bring them together, and their files."""

from llmnotes.diffusion.clip.config import (
    VIT_B_16,
    VIT_B_32,
    VIT_L_14,
    VIT_L_14_336,
    CLIPConfig,
    TextConfig,
    VisionConfig,
)
from llmnotes.diffusion.clip.files import from_pretrained, save_pretrained
from llmnotes.diffusion.clip.losses import (
    clamp_scale,
    contrastive_loss,
    floor,
    log_scale,
    multi_positive_loss,
    sigmoid_loss,
)
from llmnotes.diffusion.clip.model import CLIP, SigmoidCLIP
from llmnotes.diffusion.clip.towers import end_of_text, quick_gelu
