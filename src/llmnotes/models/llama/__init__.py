"""Llama: the model, its presets, its files, and how it is spoken to."""

from llmnotes.models.llama.chat import (
    LLAMA_2_SPECIAL,
    LLAMA_3_SPECIAL,
    Special,
    as_text,
    encode,
    llama_2_chat,
    llama_3_chat,
)
from llmnotes.models.llama.config import (
    LAPTOP,
    LLAMA_1_7B,
    LLAMA_1_13B,
    LLAMA_1_33B,
    LLAMA_1_65B,
    LLAMA_2_7B,
    LLAMA_2_13B,
    LLAMA_2_70B,
    LLAMA_3_1_405B,
    LLAMA_3_2_1B,
    LLAMA_3_2_3B,
    LLAMA_3_8B,
    LLAMA_3_70B,
    LlamaConfig,
    RopeScaling,
    swiglu_width,
)
from llmnotes.models.llama.files import from_pretrained, save_pretrained
from llmnotes.models.llama.model import (
    Attention,
    Block,
    Llama,
    RMSNorm,
    SwiGLU,
    rms_norm,
)
