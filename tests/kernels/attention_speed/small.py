"""Two more races: short texts, and one query against a long cache."""

import functools
import itertools
import statistics

import torch

from llmnotes.kernels.attention_speed import (
    CONTESTANTS,
    decode,
    forward,
    forward_backward,
    same_answers,
)
from tests.kernels.attention_speed.ground import (
    HEAD_DIM,
    HEADS,
    SEED,
    able,
    spread,
)

SHORT = (16, 32, 64, 128, 256)
CACHES, BATCHES = (512, 2048, 8192, 32768), (1, 8)
RUNS = {"forward": forward, "forward + backward": forward_backward}


def tensors(queries, keys, batch=1):
    torch.manual_seed(SEED)
    return [
        torch.randn(batch, HEADS, length, HEAD_DIM)
        for length in (queries, keys, keys)
    ]


def entered(run, inputs):
    """One call per contestant; first the answers."""
    contestants = CONTESTANTS | able(run)
    same_answers(contestants, *inputs, run=run)
    return {
        method: functools.partial(run, function, *inputs)
        for method, function in contestants.items()
    }


def rows_of(times):
    """Yield medians; ratios are taken within a round, then their median."""
    for *where, method in times:
        own, sdpa = times[*where, method], times[*where, "sdpa"]
        ratios = [a / b for a, b in zip(own, sdpa, strict=True)]
        median = statistics.median(own)
        yield *where, method, median, spread(own), statistics.median(ratios)


def of_the_cache(times):
    """`rows_of`, each with the bytes of keys and values read per second."""
    size = 2 * HEADS * HEAD_DIM * 4
    for batch, cache, *row in rows_of(times):
        yield batch, cache, *row, batch * cache * size / row[1]


def short_calls():
    """Forward and training step of every short length, by everybody."""
    return {
        (name, n, method): call
        for name, n in itertools.product(RUNS, SHORT)
        for method, call in entered(RUNS[name], tensors(n, n)).items()
    }


def decode_calls():
    """The next token of one sequence and of eight, by everybody."""
    return {
        (batch, cache, method): call
        for batch, cache in itertools.product(BATCHES, CACHES)
        for method, call in entered(decode, tensors(1, cache, batch)).items()
    }
