"""What these tests compare: a small GPT trained with regions and without."""

import torch

from llmnotes import train
from llmnotes.parallel.gradient_checkpointing import each
from llmnotes.transformer.gpt import GPT, GPTConfig

VOCAB, LENGTH = 31, 13


def gpt(dropout=0.0, layers=2, seed=0):
    torch.manual_seed(seed)
    return GPT(GPTConfig(VOCAB, LENGTH, 20, layers, 2, dropout=dropout))


def ids(batch=3, length=LENGTH - 2, seed=1):
    torch.manual_seed(seed)
    return torch.randint(VOCAB, (batch, length + 1))


def trained(prepare, dropout=0.2, steps=3):
    """A GPT's parameters after some steps; `prepare` changes its layers."""
    model = gpt(dropout)
    prepare(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(2)
    for step in range(steps):
        text = ids(seed=torch.randint(1000, ()).item() + step)
        loss = train.loss(model, text[:, :-1], text[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [p.detach() for p in model.parameters()], torch.get_rng_state()


def nothing(model):
    """Keep everything."""


def blocks(model):
    """Recompute every block."""
    each(model.transformer.h)


def attentions(model):
    """Recompute the attention of every block."""
    each(block.attn for block in model.transformer.h)


def both(model):
    """Regions within regions."""
    attentions(model)
    blocks(model)


def grads(loss, tensors):
    """Gradients, None for a tensor that gets none."""
    return torch.autograd.grad(loss, tensors, allow_unused=True)
