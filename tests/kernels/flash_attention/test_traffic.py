"""Counted traffic equals the closed formulas; the paper's counts follow."""

import math

import pytest

from llmnotes.kernels.flash_attention import traffic
from llmnotes.kernels.flash_attention.tiling import Tiling

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


@pytest.mark.parametrize(
    ("memory", "accesses"),
    [(12_288, 4_546_560), (25_600, 2_338_816), (49_152, 1_335_296)],
)
def test_the_papers_count_at_1024_tokens(memory, accesses):
    assert traffic.paper_standard(1024, 64) == 4_456_448
    assert traffic.paper_flash(1024, 64, memory) == accesses


def test_with_little_fast_memory_flash_moves_more():
    standard = traffic.paper_standard(1024, 64)
    assert traffic.paper_flash(1024, 64, 12_288) > standard
    assert traffic.paper_flash(1024, 64, 25_600) < standard


def test_accesses_fall_as_one_over_memory():
    n, d = 16_384, 64
    memory = [2**k for k in range(14, 20)]
    accesses = [traffic.paper_flash(n, d, m) for m in memory]
    slopes = [
        math.log2(b / a) for a, b in zip(accesses, accesses[1:], strict=False)
    ]
    assert all(-1 <= slope < -0.94 for slope in slopes)
