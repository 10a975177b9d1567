"""What the page concludes from the FlashAttention chapter's memory."""

import pytest

from tests.claims import claimed

MEMORY = "kernels/flash_attention:memory"


def test_doubling_the_length_takes_four_times_the_memory_and_twice():
    table = claimed(
        MEMORY,
        "Each doubling of the length multiplies the plain implementation's by "
        "about four and FlashAttention's by about two.",
    )
    for n in (2048, 4096, 8192):
        assert table("slope", method="naive", n=n) == pytest.approx(
            2, abs=0.15
        )
        assert table("slope", method="flash", n=n) == pytest.approx(
            1, abs=0.15
        )


def test_what_flash_attention_uses_is_the_output_and_little_else():
    table = claimed(
        MEMORY, "what FlashAttention uses is the output and little else"
    )
    row = {"method": "flash", "n": 8192}
    assert table("bytes", **row) < 1.3 * table("output", **row)
