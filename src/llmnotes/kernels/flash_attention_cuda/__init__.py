"""FlashAttention in CUDA: kernels, what launches them, what they cost."""

from llmnotes.kernels.flash_attention_cuda.launches import flash_attention
from llmnotes.kernels.flash_attention_cuda.tiling import Tiling

__all__ = ["Tiling", "flash_attention"]
