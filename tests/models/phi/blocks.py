"""A serial block of Phi's parts, and what a block costs, counted."""

import torch
from torch import nn

from llmnotes.models.llama import Block
from llmnotes.models.phi import MLP, BiasedAttention
from llmnotes.transformer.attention import as_projected

# Nodes of autograd's graph, and how many products of matrices each is.
PRODUCTS = {
    "AddmmBackward0": 1,
    "MmBackward0": 1,
    "ScaledDotProductFlashAttentionForCpuBackward0": 2,
}


class SerialBlock(Block):
    """GPT-2's order: the MLP reads what attention has added."""

    norm, attention, feed_forward = nn.LayerNorm, BiasedAttention, MLP


def kept(block, width, length=7):
    """Numbers that autograd keeps for the way back, of each token."""
    own = {p.data_ptr() for p in block.parameters()}
    sizes = {}

    def pack(x):
        if x.data_ptr() not in own and x.numel() >= length:
            sizes[x.data_ptr()] = x.untyped_storage().nbytes()
        return x

    x = torch.randn(1, length, width, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = block(x, as_projected)
    held = sum(sizes.values()) // (4 * length)
    assert out.requires_grad  # what is kept lives until here
    return held


def chain(block, width, length=7):
    """Products of matrices on the longest way from input to output."""
    x = torch.randn(1, length, width, requires_grad=True)
    known = {None: 0}

    def longest(node):
        if node not in known:
            before = max(
                (longest(parent) for parent, _ in node.next_functions),
                default=0,
            )
            known[node] = before + PRODUCTS.get(node.name(), 0)
        return known[node]

    return longest(block(x, as_projected).grad_fn)
