"""GPT-2 124M by our fork-join kernels and by PyTorch eager, phase by phase."""

import time

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit

from llmnotes.kernels.gemm import packed
from llmnotes.parallel.gpt2_parallel import ForkJoin
from llmnotes.parallel.gpt2_parallel.first import FirstWrites
from llmnotes.parallel.gpt2_parallel.team import take, taken
from llmnotes.transformer.gpt import GPT, GPT_2_SMALL
from llmnotes.transformer.gpt2_by_hand import GPT2, from_gpt, padded

BATCH, LENGTH = 4, 64
PHASES = "forward", "backward", "update"
LINEAR = {  # (inputs, outputs) of GPT-2's linear layers
    "qkv": (768, 2304),
    "attproj": (768, 768),
    "fc": (768, 3072),
    "fcproj": (3072, 768),
    "logits": (768, 50304),
}


def ids(seed=0):
    draw = np.random.default_rng(seed)
    shape = 2, BATCH, LENGTH
    return draw.integers(0, GPT_2_SMALL.vocab_size, shape).astype(np.int32)


def timed(*phases):
    """Seconds of each function, in order."""
    clock = [time.perf_counter()]
    for phase in phases:
        phase()
        clock.append(time.perf_counter())
    return [b - a for a, b in zip(clock[:-1], clock[1:], strict=True)]


class Torch:
    """Eager, with fused AdamW; gradients are freed before each backward."""

    def __init__(self, model):
        self.model = model
        self.adamw = torch.optim.AdamW(
            model.parameters(), lr=1e-4, weight_decay=0.0, fused=True
        )
        self.ids = [torch.from_numpy(x).long() for x in ids()]

    def forward(self):
        tokens, targets = self.ids
        logits = self.model(tokens)
        self.loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def backward(self):
        self.adamw.zero_grad()
        self.loss.backward()

    def step(self):
        return timed(self.forward, self.backward, self.adamw.step)


class Ours:
    """A GPT2 of ours on so many threads."""

    def __init__(self, model, kind, threads):
        rows = padded(GPT_2_SMALL.vocab_size)
        self.kernels = ForkJoin(threads)
        weights = from_gpt(model, rows, np.float32)
        self.model = kind(GPT_2_SMALL, weights, self.kernels)

    def backward(self):
        self.model.zero_grad()
        self.model.backward()

    def step(self):
        return timed(
            lambda: self.model.forward(*ids()),
            self.backward,
            lambda: self.model.update(lr=1e-4),
        )


def contestants(threads):
    """{name: step}; all begin with the same weights."""
    torch.manual_seed(0)
    model = GPT(GPT_2_SMALL)
    return {
        "ours, first writes set": Ours(model, FirstWrites, threads).step,
        "ours, all added to zeros": Ours(model, GPT2, threads).step,
        "PyTorch eager": Torch(model).step,
    }


def steps(threads, rounds):
    """{name: [[seconds of each phase], …]}, interleaved."""
    torch.set_num_threads(threads)
    all_of_them = contestants(threads)
    spent = {name: [] for name in all_of_them}
    for step in all_of_them.values():
        step()
    for i in range(rounds):
        order = list(all_of_them)[:: 1 if i % 2 else -1]
        for name in order:
            spent[name].append(all_of_them[name]())
    return spent


@njit(nogil=True)
def multiply_adds(c, left, right, steps, times):
    """The register tile again and again, its panels in the nearest cache."""
    for _ in range(times):
        packed.put_tile(c, 0, 0, left, 0, right, 0, steps, True)


def peak(times=20_000, steps=256):
    """A function that makes so many floating-point operations, and these."""
    c = np.zeros((packed.ROWS, packed.WIDTH), np.float32)
    left, right = (np.ones(steps * n, np.float32) for n in c.shape)
    operations = 2 * c.size * steps * times
    return lambda: multiply_adds(c, left, right, steps, times), operations


def products(name, kernels):
    """{product: (ours, torch's, operations)} of a layer of GPT-2."""
    inputs, outputs = LINEAR[name]
    x, weight, y = (
        torch.randn(BATCH, LENGTH, inputs),
        torch.randn(outputs, inputs),
        torch.randn(BATCH, LENGTH, outputs),
    )
    bias, out, dx, dw = (
        torch.randn(outputs), torch.empty_like(y), torch.empty_like(x),
        torch.empty_like(weight),
    )  # fmt: skip
    rows, drows = x.flatten(0, 1), y.flatten(0, 1)
    arrays = [a.numpy() for a in (out, x, weight, bias)]
    back = [a.numpy() for a in (dx, dw, bias.clone(), y, x, weight)]

    def theirs_back():
        torch.mm(drows, weight, out=dx.flatten(0, 1))
        torch.mm(drows.T, rows, out=dw)
        torch.sum(drows, 0, out=bias)

    return {
        "forward": (
            lambda: kernels.matmul_forward(*arrays),
            lambda: torch.addmm(bias, rows, weight.T, out=out.flatten(0, 1)),
            2 * rows.numel() * outputs,
        ),
        "backward": (
            lambda: kernels.matmul_backward_first(*back),
            theirs_back,
            4 * rows.numel() * outputs,
        ),
    }


@njit(nogil=True)
def triad(queue, step, end, scratch, a, b, c, factor):
    """a = b + factor·c, in items of 64 kB."""
    for item in taken(queue, step, end):
        first = item * 16384
        for i in range(first, min(first + 16384, a.size)):
            a[i] = b[i] + factor * c[i]


@njit(nogil=True)
def sums(queue, step, end, scratch, found, x, apart):
    """Item i sums 4 columns of x into found[i·apart:]; no item shares any."""
    for item in taken(queue, step, end):
        for row in range(x.shape[0]):
            for c in range(4):
                found[item * apart + c] += x[row, item * 4 + c]


@njit(nogil=True)
def counts(queue, step, end, scratch, counters, apart, times):
    """Item i counts in counters[i·apart], by the instruction of `take`."""
    for item in taken(queue, step, end):
        mine = counters[item * apart :]
        for _ in range(times):
            take(mine, 1)
