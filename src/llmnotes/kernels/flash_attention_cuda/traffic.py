"""How much the kernels ask of memory, counted and in closed form.

    n, d             = N, d (sequence length, head_dim), one head
    block_q, block_k = B_r, B_c

Counts are requests of the program to global memory, one per element. What
reaches the memory chips is less, since caches answer many of them.
"""

import torch

from llmnotes.cuda.launch import using
from llmnotes.cuda.trace import Trace
from llmnotes.kernels.flash_attention_cuda import launches
from llmnotes.kernels.flash_attention_cuda.tiling import Tiling


def count_naive(n: int, d: int, causal: bool = False) -> tuple[int, int]:
    """Loads and stores of the three naive kernels, by running them."""
    with using(Trace()) as trace:
        launches.naive_forward(*inputs(n, d), causal, 1.0)
    return trace.loads, trace.stores


def count_flash(
    n: int, tiling: Tiling, causal: bool = False
) -> tuple[int, int]:
    """Loads and stores of the flash forward, by running it."""
    with using(Trace()) as trace:
        launches.flash_forward(
            *inputs(n, tiling.head_dim), causal, 1.0, tiling
        )
    return trace.loads, trace.stores


def count_flash_backward(
    n: int, tiling: Tiling, causal: bool = False
) -> tuple[int, int]:
    """Loads and stores of the three backward kernels, by running them."""
    query, key, value = inputs(n, tiling.head_dim)
    lse = torch.zeros(query.shape[:-1])
    saved = query, key, value, query, lse
    with using(Trace()) as trace:
        launches.flash_backward(*saved, query, causal, 1.0, tiling)
    return trace.loads, trace.stores


def inputs(n: int, d: int):
    """Query, key and value of one head; their numbers do not matter."""
    return (torch.zeros(1, 1, n, d) for _ in range(3))


def naive_loads(n: int, d: int, causal: bool = False) -> int:
    """2d per score, three passes over the matrix, then 2 per product."""
    scores = n * (n + 1) // 2 if causal else n * n
    return 2 * d * scores + 3 * n * n + 2 * d * scores


def naive_stores(n: int, d: int) -> int:
    """The matrix three times (S, exp, P) and the output once."""
    return 3 * n * n + n * d


def flash_loads(n: int, tiling: Tiling, causal: bool = False) -> int:
    """Q once; K and V once for every query tile that looks at them."""
    d = tiling.head_dim
    return n * d + 2 * d * sum(
        keys_read(n, first, tiling, causal)
        for first in range(0, n, tiling.block_q)
    )


def flash_stores(n: int, d: int) -> int:
    """The output and one number per row."""
    return n * d + n


def keys_read(n: int, first: int, tiling: Tiling, causal: bool) -> int:
    """Keys that the query tile starting at `first` reads: whole tiles."""
    end = min(n, first + tiling.block_q) if causal else n
    return min(n, -(-end // tiling.block_k) * tiling.block_k)


def queries_read(n: int, first: int, tiling: Tiling, causal: bool) -> int:
    """Queries that the key tile starting at `first` reads: whole tiles."""
    return n - (first // tiling.block_q * tiling.block_q if causal else 0)


def backward_loads(n: int, tiling: Tiling, causal: bool = False) -> int:
    """Row sums; K, V per query tile (dQ); Q, dO, L, D per key tile (dK)."""
    d = tiling.head_dim
    rows = n * (2 * d + 1)
    query = n * (2 * d + 2) + 2 * d * sum(
        keys_read(n, first, tiling, causal)
        for first in range(0, n, tiling.block_q)
    )
    key = 2 * n * d + (2 * d + 2) * sum(
        queries_read(n, first, tiling, causal)
        for first in range(0, n, tiling.block_k)
    )
    return rows + query + key


def backward_stores(n: int, d: int) -> int:
    """L and D side by side, then dQ, dK and dV."""
    return 2 * n + 3 * n * d
