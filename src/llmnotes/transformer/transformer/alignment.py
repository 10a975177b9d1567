"""Where a Transformer looks: the weights its attentions do not hand out.

    weights   = softmax(QKᵀ/√d_k), of one multi-head attention
    alignment = the weights of every decoder layer on the source

Source
- Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, §3.2.3
  and the appendix.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmnotes.lengths import Lengths
from llmnotes.transformer.transformer.model import Transformer


@torch.no_grad()
def alignment(
    model: Transformer,
    source: Int[Tensor, "batch source"],
    target_in: Int[Tensor, "batch length"],
    source_lengths: Lengths | None = None,
) -> Float[Tensor, "layers batch heads length source"]:
    """Which source position each written token is taken from."""
    found = []

    def look(layer, inputs, options):
        found.append(layer.weights(*inputs, **options))

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
