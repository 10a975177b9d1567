"""A whole training step of the package's GPT, in several ways, watched."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from llmnotes.parallel.data_parallel import Living
from llmnotes.parallel.gradient_checkpointing import (
    Saved,
    ToDisk,
    checkpointed,
    each,
)
from llmnotes.transformer.gpt import GPT, GPTConfig

BATCH, CONFIG = 8, GPTConfig(65, 64, 64, n_layer=9, n_head=4, dropout=0.1)


def keep(model: GPT) -> nn.Module:
    """The plain stack of blocks."""
    return nn.Sequential(*model.transformer.h)


def attention(model: GPT) -> nn.Module:
    """Every attention is a region."""
    each(block.attn for block in model.transformer.h)
    return keep(model)


def every_block(model: GPT) -> nn.Module:
    """Every block is a region."""
    each(model.transformer.h)
    return keep(model)


def segments(count: int) -> Callable[[GPT], nn.Module]:
    """Regions of several blocks."""
    return lambda model: checkpointed(model.transformer.h, count)


class Way(NamedTuple):
    """How activations are kept, in words and in code."""

    name: str
    stack: Callable[[GPT], nn.Module]
    hooks: Callable[..., Any] = lambda parameters: contextlib.nullcontext()


WAYS = (
    Way("keep everything", keep),
    Way("recompute each attention", attention),
    Way("3 segments", segments(3)),
    Way("recompute each block", every_block),
    Way("keep everything on a disk", keep, ToDisk),
)


class Step:
    """A GPT, its optimizer and a batch; calling it trains one step."""

    def __init__(self, way: Way, config: GPTConfig = CONFIG):
        torch.manual_seed(0)
        self.model, self.way = GPT(config), way
        self.stack = way.stack(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.ids = torch.randint(
            config.vocab_size, (BATCH, config.n_positions + 1)
        )

    def loss(self) -> torch.Tensor:
        """GPT's forward pass, with its blocks in the stack."""
        parts, inputs = self.model.transformer, self.ids[:, :-1]
        x = parts.drop(parts.wte(inputs) + parts.wpe.weight)
        logits = F.linear(parts.ln_f(self.stack(x)), parts.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), self.ids[:, 1:].flatten())

    def __call__(self) -> float:
        with self.way.hooks(self.model.parameters()):
            loss = self.loss()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def measured(way: Way) -> dict[str, float]:
    """Bytes and FLOPs of the second step, and its loss."""
    step = Step(way)
    with Saved(step.model.parameters()) as saved:
        step.loss()
    step()  # the optimizer makes its state
    with FlopCounterMode(display=False) as flops, Living() as living:
        loss = step()
    return {
        "peak": living.peak,
        "saved": saved.bytes,
        "flops": flops.get_total_flops(),
        "loss": loss,
    }
