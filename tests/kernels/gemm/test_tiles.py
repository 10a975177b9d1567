"""Vector registers and the product built from them, against NumPy."""

import numpy as np
import torch
from numba import njit

from llmnotes.kernels.gemm import tiles

FAR = np.int64(2**40)


@njit
def powers_of_two(x):
    for i in range(0, x.shape[1], tiles.LANES):
        tiles.store(tiles.exp2(tiles.load(x, 0, i)), x, 0, i)


def test_the_exponential_is_exact_where_it_must_be():
    special = [-np.inf, np.nan, 0.0, -1.0, -20.0, -126.0, -127.0, -1e30]
    x = np.resize(np.float32(special), (1, 16))
    powers_of_two(x)
    wanted = [0, np.nan, 1, 0.5, 2**-20, 2**-126, 0, 0]
    np.testing.assert_array_equal(x[0], np.resize(np.float32(wanted), 16))


def test_the_exponential_is_right_to_the_last_digit_but_one():
    x = np.linspace(-126, 0, 16 * 999, dtype=np.float32)[None]
    wanted = np.exp2(x.astype(np.float64))
    powers_of_two(x)
    assert np.abs(x / wanted - 1).max() < 1.5e-7


def test_a_product_reads_only_the_steps_inside_its_edges():
    a = torch.randn(23, 19).numpy()
    b = torch.randn(19, 3 * tiles.LANES).numpy()
    step, row = np.arange(19), np.arange(23)[:, None]
    for low, high in ((-FAR, 4), (-3, FAR), (-FAR, -5), (2, FAR)):
        band = (low + row <= step) & (step < high + row)
        wanted = np.where(band, a, 0) @ b
        hostile = np.where(band, a, np.float32(np.nan))
        c = np.ones((23, b.shape[1]), np.float32)
        args = (b, np.int64(low), np.int64(high), True)
        tiles.product(c, hostile[:, :19], *args)
        np.testing.assert_allclose(c, 1 + wanted, atol=1e-5)
