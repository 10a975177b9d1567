"""The dense models that split ones are compared with; float64, odd sizes."""

import torch
from torch import nn
from torch.testing import assert_close

from llmnotes.models import llama
from llmnotes.transformer import gpt

BATCH, LENGTH = 2, 12  # every number of ranks divides 12
CONFIG = gpt.GPTConfig(
    vocab_size=29, n_positions=17, n_embd=24, n_layer=2, n_head=12
)
LLAMA = dict(
    vocab_size=7, hidden_size=24, intermediate_size=5, num_hidden_layers=1
)


def stirred(module: nn.Module, seed=0) -> nn.Module:
    """In float64, all parameters random: no bias is 0 and no gain 1."""
    draw = torch.Generator().manual_seed(seed)
    module = module.double()
    for p in module.parameters():
        noise = torch.randn(p.shape, generator=draw, dtype=p.dtype)
        p.data = noise * 0.3 + (p.ndim == 1)
    return module


def model(**changes) -> gpt.GPT:
    """A GPT of two layers."""
    fields = {**vars(CONFIG), **changes}
    return stirred(gpt.GPT(gpt.GPTConfig(**fields)))


def grouped(heads, kv_heads) -> llama.Attention:
    """Llama's attention, with fewer keys than queries."""
    config = llama.LlamaConfig(
        **LLAMA, num_attention_heads=heads, num_key_value_heads=kv_heads
    )
    return stirred(llama.Attention(config, 0))


def text(vocab=29, length=LENGTH, seed=1):
    """Inputs and targets; one in five targets does not count."""
    draw = torch.Generator().manual_seed(seed)
    shape = BATCH, length
    inputs = torch.randint(vocab, shape, generator=draw)
    targets = torch.randint(vocab, shape, generator=draw)
    hidden = torch.rand(shape, generator=draw) < 0.2
    return inputs, targets.masked_fill(hidden, -100)


def rows(width=24, length=LENGTH, seed=2):
    """Activations, and weights of a loss that is a sum over them."""
    draw = torch.Generator().manual_seed(seed)
    shape = 2, BATCH, length, width
    return torch.randn(shape, generator=draw, dtype=torch.float64).unbind()


def found(x, out, loss, module) -> dict:
    """Output and every gradient, by name."""
    return {
        "output": out.detach(), "loss": loss.detach(), "input": x.grad,
        **{name: p.grad for name, p in module.named_parameters()},
    }  # fmt: skip


def through(module, *more) -> dict:
    """Output and gradients of a dense module, whose loss is a sum."""
    x, weights = rows()
    x.requires_grad_()
    out = module(x, *more)
    loss = (out * weights).sum()
    loss.backward()
    return found(x, out, loss, module)


def equal(ours, right, **tolerance):
    """Every array is the tensor of its name."""
    assert ours.keys() == right.keys()
    for name, x in right.items():
        ours_x = torch.from_numpy(ours[name])
        assert_close(ours_x, x, msg=lambda m, n=name: f"{n}: {m}", **tolerance)
