"""A fair race of attentions: the contestants, the referee and the counts."""

from llmnotes.kernels.attention_speed.baselines import (
    attention_over_heads,
    compiled,
    compiler_missing,
    five_lines,
    flex,
    in_place,
    torch_sdpa,
)
from llmnotes.kernels.attention_speed.counts import (
    backward_flops,
    forward_flops,
    fused_backward_traffic,
    fused_forward_traffic,
    pairs,
    roof,
    unfused_backward_traffic,
    unfused_forward_traffic,
)
from llmnotes.kernels.attention_speed.memory_efficient import (
    memory_efficient_attention,
    merge,
    summarise,
)
from llmnotes.kernels.attention_speed.referee import (
    BASELINES,
    CONTESTANTS,
    decode,
    forward,
    forward_backward,
    row_error,
    same_answers,
)

__all__ = [
    "BASELINES",
    "CONTESTANTS",
    "attention_over_heads",
    "backward_flops",
    "compiled",
    "compiler_missing",
    "decode",
    "five_lines",
    "flex",
    "forward",
    "forward_backward",
    "forward_flops",
    "fused_backward_traffic",
    "fused_forward_traffic",
    "in_place",
    "memory_efficient_attention",
    "merge",
    "pairs",
    "roof",
    "row_error",
    "same_answers",
    "summarise",
    "torch_sdpa",
    "unfused_backward_traffic",
    "unfused_forward_traffic",
]
