"""Transformer-XL: segments that remember those before, and relative places."""

from llmnotes.models.transformer_xl.counts import (
    earliest,
    forward_flops,
    segment_flops,
    sliding_flops,
)
from llmnotes.models.transformer_xl.memory import Memory
from llmnotes.models.transformer_xl.model import (
    SameLength,
    TransformerXL,
    TransformerXLConfig,
)
from llmnotes.models.transformer_xl.relative import (
    four_terms,
    lag_codes,
    relative_attention,
    shift,
)
from llmnotes.models.transformer_xl.streams import (
    Streams,
    fit_streams,
    loss_by_position,
)
