"""Phi: the parallel block, partly turned heads, and both kinds of files."""

from llmnotes.models.phi.chat import (
    PHI_2_STOP,
    PHI_3_SPECIAL,
    phi_2_question,
    phi_3_chat,
)
from llmnotes.models.phi.config import (
    LAPTOP,
    PHI_1,
    PHI_1_5,
    PHI_2,
    PHI_3_MEDIUM,
    PHI_3_MINI,
    PHI_4,
    PartlyTurnedConfig,
    Phi3Config,
    PhiConfig,
)
from llmnotes.models.phi.files import from_pretrained, save_pretrained
from llmnotes.models.phi.model import (
    MLP,
    BiasedAttention,
    ParallelBlock,
    PartlyRotary,
    PartlyTurned,
    Phi,
)
from llmnotes.models.phi.phi3 import (
    FusedAttention,
    FusedSwiGLU,
    Phi3,
    Phi3Block,
    unfused,
)
