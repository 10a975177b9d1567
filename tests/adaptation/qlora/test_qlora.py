"""Under a real limit of memory, 4 bits fit where 16 do not."""

import sys

import pytest

from tests.adaptation.qlora.limited import run


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the limit is Linux's"
)
def test_under_the_same_limit_four_bits_fit_and_sixteen_do_not():
    fits = run(4, 92)
    assert fits["fits"] and fits["loss"] > 0
    refused = run(16, 92)
    assert not refused["fits"]
    assert "memory" in refused["why"] or "primitive" in refused["why"]
    assert run(16, 400)["fits"]  # it is the limit, and nothing else
