"""A small Transformer-XL with weights that are not small."""

from contextlib import contextmanager

import jaxtyping
import torch
from torch import nn

from llmnotes.models.transformer_xl import TransformerXL, TransformerXLConfig

SHAPE = TransformerXLConfig(
    vocab_size=11, d_model=12, n_head=3, d_inner=20, n_layer=2
)


def tiny(config=SHAPE, kind=TransformerXL, *more, seed=0):
    """In float64, every parameter random: biases and norms, too."""
    torch.manual_seed(seed)
    model = kind(config, *more).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def tokens(batch, length, seed=1):
    """Random ids of the small vocabulary."""
    torch.manual_seed(seed)
    return torch.randint(SHAPE.vocab_size, (batch, length))


def in_segments(model, ids, segment, memory):
    """Logits of a text that is read segment after segment."""
    return torch.cat([model(x, memory) for x in ids.split(segment, 1)], 1)


@contextmanager
def as_readers_call():
    """Without the types that pytest enforces: what the code itself refuses."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
