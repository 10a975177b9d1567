"""LoRA: a low-rank difference that learns beside a frozen model."""

from llmnotes.adaptation.lora.attach import (
    ALL_LINEAR,
    adapted,
    add_lora,
    merge,
    unload,
    unmerge,
    use,
    using,
)
from llmnotes.adaptation.lora.files import load_adapter, save_adapter
from llmnotes.adaptation.lora.model import (
    DoRA,
    LoRALinear,
    LowRank,
    RankStabilised,
)
