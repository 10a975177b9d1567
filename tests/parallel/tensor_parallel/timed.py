"""One MLP, forward and back, several ways in turn; what each rank measures."""

import time

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import parallelize_module

from llmnotes.parallel import tensor_parallel as tp
from llmnotes.transformer import gpt
from tests.parallel.tensor_parallel.witness import PLANS, linear

WIDTH, BATCH, LENGTH = 512, 8, 128


def ways(ranks):
    """{name: function of x}, on the same weights."""
    torch.manual_seed(0)
    whole = gpt.MLP(gpt.GPTConfig(n_embd=WIDTH, n_head=1))
    for p in whole.parameters():
        nn.init.normal_(p, std=0.02)
    theirs = nn.Sequential()
    theirs.add_module("up", linear(whole.c_fc).float())
    theirs.add_module("gelu", nn.GELU("tanh"))
    theirs.add_module("down", linear(whole.c_proj).float())
    mesh = init_device_mesh("cpu", (ranks,))
    return {
        "dense": whole,
        "ours": tp.MLP(whole, tp.Replicated()),
        "DTensor": parallelize_module(theirs, mesh, PLANS["replicated"]),
    }


def interleaved(ranks, rounds):
    """{name: seconds of each round}."""
    made, spent = ways(ranks), {}
    x = torch.randn(BATCH, LENGTH, WIDTH, requires_grad=True)
    for number in range(rounds + 2):
        for name, module in made.items():
            dist.barrier()
            start = time.perf_counter()
            module(x).sum().backward()
            if number >= 2:
                spent.setdefault(name, []).append(time.perf_counter() - start)
    return spent
