"""Mamba and Mamba-2: scans, models, files, and memories beside them."""

from llmnotes.models.mamba.config import (
    MAMBA_1_4B,
    MAMBA_2_8B,
    MAMBA_130M,
    MAMBA_370M,
    MAMBA_790M,
    Mamba2Config,
    MambaConfig,
)
from llmnotes.models.mamba.files import from_pretrained, save_pretrained
from llmnotes.models.mamba.mamba2 import Mamba2, Mixer2
from llmnotes.models.mamba.model import (
    Block,
    FixedMamba,
    Mamba,
    Memory,
    Mixer,
    QuickMamba,
)
from llmnotes.models.mamba.scan import parallel_scan, selective_scan
