"""The paper's programs win only with enough fast memory."""

import math

import pytest

from llmnotes.kernels.flash_attention import traffic


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
