"""float32 at least, and autocast where it is switched on."""

import pytest
import torch

from llmnotes.checks import checked
from llmnotes.precision import autocasts, wide, without_autocast


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_wide_is_float32_or_finer(given, found):
    assert wide(torch.zeros(3, dtype=given)).dtype == found


def test_nothing_that_is_wide_enough_is_copied():
    x = torch.zeros(3)
    assert wide(x) is x


def test_autocast_takes_all_but_float64():
    x = torch.zeros(3)
    assert not autocasts(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert autocasts(x) and autocasts(x.half())
        assert not autocasts(x.double()) and not autocasts(x.to("meta"))


def test_inside_products_are_not_cast_and_the_results_type_is_known():
    x = torch.randn(2, 2)
    with without_autocast(x) as dtype:
        assert dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with without_autocast(x) as dtype:
            assert (x @ x).dtype == torch.float32
        assert dtype == torch.bfloat16
        assert torch.is_autocast_enabled("cpu")


def test_types_that_autocast_makes_equal_are_equal_to_a_check():
    from jaxtyping import Float
    from torch import Tensor

    @checked
    def both(x: Float[Tensor, "n"], y: Float[Tensor, "n"]):
        return x, y

    x = torch.zeros(3)
    with pytest.raises(ValueError, match="^y: got dtype torch.bfloat16"):
        both(x, x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        both(x, x.bfloat16())
        with pytest.raises(ValueError, match="^y: got dtype torch.float64"):
            both(x, x.double())
