"""Where a Transformer looks: the weights its attentions do not hand out.

    weights   = softmax(QKᵀ/√d_k), of one multi-head attention
    alignment = the weights of every decoder layer on the source

Source
1. Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, §3.2.3
   and the appendix.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from llmnotes.transformer.attention import (
    MultiHeadAttention,
    apply_mask,
    masked_softmax,
    scaled_scores,
)
from llmnotes.transformer.transformer.model import Transformer


def attention_weights(
    layer: MultiHeadAttention,
    x: Float[Tensor, "batch query d_model"],
    context: Float[Tensor, "batch key d_model"],
    mask: Tensor | None = None,
) -> Float[Tensor, "batch heads query key"]:
    """How much each of x takes from each of the context, head by head."""
    split = "batch t (h width) -> batch h t width"
    query = rearrange(layer.q_proj(x), split, h=layer.heads)
    key = rearrange(layer.k_proj(context), split, h=layer.kv_heads)
    return masked_softmax(apply_mask(scaled_scores(query, key), mask))


@torch.no_grad()
def alignment(
    model: Transformer,
    source: Int[Tensor, "batch source"],
    target_in: Int[Tensor, "batch length"],
    source_lengths: Int[Tensor, "batch"] | None = None,
) -> Float[Tensor, "layers batch heads length source"]:
    """Which source position each written token is taken from."""
    found = []

    def look(layer, inputs, options):
        found.append(attention_weights(layer, *inputs, **options))

    hooks = [
        layer.multihead_attn.register_forward_pre_hook(look, with_kwargs=True)
        for layer in model.decoder.layers
    ]
    try:
        model(source, target_in, source_lengths)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(found)
