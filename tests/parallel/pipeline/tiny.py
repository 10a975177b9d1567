"""Small models and batches, the same on every rank."""

import torch

from llmnotes.parallel.pipeline import IGNORED
from llmnotes.transformer.gpt import GPT, GPTConfig

WIDTH = 12


def gpt(layers: int = 4, dtype=torch.float64) -> GPT:
    """A GPT of odd sizes."""
    torch.manual_seed(3)
    config = GPTConfig(17, n_positions=9, n_embd=WIDTH, n_layer=layers,
                       n_head=3)  # fmt: skip
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
