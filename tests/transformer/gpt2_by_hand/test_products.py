"""Products in blocks of four, whatever is left over at the edges."""

import numpy as np
import pytest

from llmnotes.transformer.gpt2_by_hand.products import add_product, product


@pytest.mark.parametrize("rows", [1, 4, 5, 11])
@pytest.mark.parametrize("outputs", [1, 3, 4, 70, 131])
def test_products_of_every_remainder(rows, outputs):
    draw = np.random.default_rng(rows)
    inp = draw.standard_normal((rows, 7), dtype=np.float32)
    weight = draw.standard_normal((outputs, 7), dtype=np.float32)
    out = np.full((rows, outputs), np.nan, np.float32)
    product(out, inp, weight)
    assert np.allclose(out, inp @ weight.T, atol=1e-5)
    for x, factors, y in ((inp, out, weight), (weight, out.T, inp)):
        found = x.copy()
        add_product(found, factors, y)
        assert np.allclose(found, x + factors @ y, rtol=1e-4, atol=1e-4)
