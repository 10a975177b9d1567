"""Counted traffic equals the closed formulas."""

import pytest

from llmnotes.kernels.flash_attention_cuda import traffic
from llmnotes.kernels.flash_attention_cuda.tiling import Tiling

# n, then head_dim, block_q, block_k, side
SIZES = [(1, 3, 4, 4, 2), (9, 4, 4, 8, 4), (11, 3, 8, 4, 4)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("n", "d", "block_q", "block_k", "side"), SIZES)
def test_counts_equal_the_formulas(n, d, block_q, block_k, side, causal):
    tiling = Tiling(d, block_q, block_k, side)
    assert traffic.count_flash(n, tiling, causal) == (
        traffic.flash_loads(n, tiling, causal),
        traffic.flash_stores(n, d),
    )
    assert traffic.count_flash_backward(n, tiling, causal) == (
        traffic.backward_loads(n, tiling, causal),
        traffic.backward_stores(n, d),
    )


@pytest.mark.parametrize("causal", [False, True])
def test_naive_counts_equal_the_formulas(causal):
    assert traffic.count_naive(7, 3, causal) == (
        traffic.naive_loads(7, 3, causal),
        traffic.naive_stores(7, 3),
    )


def test_twice_the_query_block_halves_what_flash_loads_of_k_and_v():
    def keys_and_values(block_q):
        tiling = Tiling(64, block_q, 32)
        return traffic.flash_loads(1024, tiling) - 1024 * 64

    assert keys_and_values(32) == 2 * keys_and_values(64)
