"""Activations that are forgotten and made again."""

from llmnotes.parallel.gradient_checkpointing.flops import (
    REDONE,
    forward_flops,
    overhead,
    products,
    published_overhead,
    recomputed_flops,
    step_flops,
)
from llmnotes.parallel.gradient_checkpointing.formula import (
    FLOAT32_ON_CPU,
    PAPER,
    ROWS,
    Row,
    Width,
    activations,
    everything,
    full,
    per_sbh,
    selective,
    sequence,
    tensor,
)
from llmnotes.parallel.gradient_checkpointing.layer import (
    Full,
    Layer,
    Selective,
)
from llmnotes.parallel.gradient_checkpointing.offload import (
    Offload,
    ToDisk,
    ToMemory,
)
from llmnotes.parallel.gradient_checkpointing.region import (
    checkpoint,
    checkpoint_compared,
)
from llmnotes.parallel.gradient_checkpointing.saved import Saved
from llmnotes.parallel.gradient_checkpointing.stack import (
    Checkpointed,
    balanced,
    checkpointed,
    each,
    forwards,
    peak,
    tapered,
    timeline,
)
