"""The papers' own numbers come out of the formulas."""

import pytest

from llmnotes.parallel.tensor_parallel import (
    MEGATRON_1,
    MEGATRON_1_LENGTH,
    MEGATRON_2,
    MEGATRON_2_LENGTH,
    VOCABULARY,
    parameters,
)

EXACT = {
    "355M": 355.8,
    "1.2B": 1213.5,
    "2.5B": 2490.4,
    "4.2B": 4199.1,
    "8.3B": 8317.0,
}  # millions


@pytest.mark.parametrize("name", MEGATRON_1)
def test_sizes_of_the_first_paper(name):
    layers, hidden, printed = MEGATRON_1[name]
    count = parameters(layers, hidden, VOCABULARY, MEGATRON_1_LENGTH)
    assert round(count / 1e6, 1) == EXACT[name]
    digits = 3 if printed < 1 else 1
    assert abs(count / 1e9 - printed) < 0.6 * 10**-digits * (
        2 if name == "355M" else 1
    )


@pytest.mark.parametrize("name", MEGATRON_2)
def test_sizes_of_the_second_paper(name):
    layers, hidden, _, printed = MEGATRON_2[name]
    count = parameters(layers, hidden, VOCABULARY, MEGATRON_2_LENGTH)
    assert abs(count / 1e9 - printed) < 0.06
    assert name == f"{printed}B"


def test_equation_2_leaves_out_the_last_norm():
    for layers, hidden, *_ in MEGATRON_2.values():
        h, vocab, s = hidden, VOCABULARY, MEGATRON_2_LENGTH
        equation = (
            12
            * layers
            * h**2
            * (1 + 13 / (12 * h) + (vocab + s) / (12 * layers * h))
        )
        count = parameters(layers, h, vocab, s)
        assert count - equation == pytest.approx(2 * h, abs=200)
