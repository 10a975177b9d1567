"""Small models and batches, the same on every rank."""

import torch
import torch.nn.functional as F

from llmnotes.parallel.pipeline import (
    IGNORED,
    gpipe,
    interleaved,
    one_f_one_b,
    summed_loss,
    zero_bubble,
)
from llmnotes.transformer.gpt import GPT, GPTConfig

WIDTH = 12
OURS = {  # under the names of torch.distributed.pipelining
    "ScheduleGPipe": lambda p, m, v: gpipe(p, m),
    "Schedule1F1B": lambda p, m, v: one_f_one_b(p, m),
    "ScheduleInterleaved1F1B": interleaved,
    "ScheduleInterleavedZeroBubble": lambda p, m, v: zero_bubble(p, m),
}


def schedules(ranks: int, micro_batches: int) -> list:
    """All four."""
    return [
        gpipe(ranks, micro_batches),
        one_f_one_b(ranks, micro_batches),
        interleaved(ranks, micro_batches, 2),
        zero_bubble(ranks, micro_batches),
    ]


def gpt(layers: int = 4, dtype=torch.float64) -> GPT:
    """A GPT of odd sizes."""
    torch.manual_seed(3)
    config = GPTConfig(
        17, n_positions=9, n_embd=WIDTH, n_layer=layers, n_head=3
    )
    model = GPT(config).to(dtype)
    for parameter in model.parameters():  # biases are not zero, norms not one
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def batches(number: int, seed: int = 0) -> tuple[list, list]:
    """Micro-batches of unequal sizes and of unequal numbers of targets."""
    draw = torch.Generator().manual_seed(seed)
    inputs, targets = [], []
    for i in range(number):
        shape = 1 + i % 3, 5 + i % 2
        inputs.append(torch.randint(17, shape, generator=draw))
        right = torch.randint(17, shape, generator=draw)
        right[0, : 1 + i % 4] = IGNORED
        targets.append(right)
    return inputs, targets


def equal_batches(number: int) -> tuple[list, list]:
    """Micro-batches of one shape; every target counts."""
    draw = torch.Generator().manual_seed(0)
    both = torch.randint(17, (2, number, 3, 7), generator=draw)
    return list(both[0]), list(both[1])


def mean_loss(logits, targets):
    """The mean over the targets of one micro-batch."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def counted(targets: list) -> int:
    """How many targets count."""
    return sum(int((t != IGNORED).sum()) for t in targets)


def backward(model, pieces) -> float:
    """One process: the mean loss over all targets, and its gradients."""
    total = sum(counted(targets) for _, targets in pieces)
    loss = sum(
        summed_loss(model(x), y) / total
        for inputs, targets in pieces
        for x, y in zip(inputs, targets, strict=True)
    )
    loss.backward()
    return loss.item()
