"""How far a memory reaches, and what reading with one costs.

    segment = L, tokens read at once      mem_len = M, tokens remembered
    layers  = N                           context = C, tokens looked back at
    new, kept = tokens of a call, and of the memory before them

Sources
- Dai et al. 2019, "Transformer-XL", arXiv 1901.02860, §3.2.
"""

from llmnotes.checks import check_sizes
from llmnotes.models.transformer_xl.model import TransformerXLConfig


def earliest(position: int, layers: int, segment: int, mem_len: int) -> int:
    """The first token that can reach the output at a position.

    Each layer goes back to the begin of the segment and from there by the
    memory. Text and positions begin at 0.

    Raises `ValueError` for sizes that cannot be.
    """
    check_sizes(0, position=position, mem_len=mem_len)
    check_sizes(layers=layers, segment=segment)
    for _ in range(layers):
        position = max(0, position - position % segment - mem_len)
    return position


def forward_flops(config: TransformerXLConfig, new: int, kept: int) -> int:
    """FLOPs of the products of a call, one text; two a multiply-add."""
    check_sizes(0, kept=kept)
    check_sizes(new=new)
    width, key = config.d_model, new + kept
    from_new = 2 * new * width * width  # queries, and the output
    from_all = 3 * key * width * width  # keys, values, places
    scores = 3 * new * key * width  # content, position, weighted sum
    mlp = 2 * new * width * config.d_inner
    layer = from_new + from_all + scores + mlp
    head = new * width * config.vocab_size
    return 2 * (config.n_layer * layer + head)


def sliding_flops(config: TransformerXLConfig, context: int) -> int:
    """FLOPs of one new token where the window is computed anew for each."""
    return forward_flops(config, context, 0)


def segment_flops(
    config: TransformerXLConfig, context: int, segment: int
) -> float:
    """FLOPs of one new token where `segment` of them meet a memory."""
    return forward_flops(config, segment, context) / segment
