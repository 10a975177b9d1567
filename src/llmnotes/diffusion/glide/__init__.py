"""GLIDE: a caption is read by the network that draws."""

from llmnotes.diffusion.glide.encoders import (
    CaptionConfig,
    Captions,
    Encoder,
    Read,
    Vectors,
)
from llmnotes.diffusion.glide.model import Block, DiT, DiTConfig
from llmnotes.diffusion.glide.patches import patchify, unpatchify
from llmnotes.diffusion.glide.stitched import Stitched
from llmnotes.diffusion.glide.tower import Tower
