"""Packed products against torch: all three, at sizes that nothing divides.

A product that forgets what earlier panels summed fails as_exact_as_torchs.
One whose loop over panels ended early failed how_a_product_is_cut.
"""

import numpy as np
import pytest
import torch

from llmnotes.kernels.gemm import packed
from llmnotes.kernels.gemm.packed import HEIGHT, ROWS, STEPS, WIDTH

SET, ADD = np.bool_(False), np.bool_(True)
SIZES = [
    (1, 1, 1),
    (ROWS - 1, 7, WIDTH + 1),
    (ROWS + 1, 9, WIDTH - 1),
    (2 * ROWS, 8, 2 * WIDTH),
    (ROWS, STEPS + 33, 19),
    (3, 2 * STEPS + 65, WIDTH),
    (HEIGHT, 17, 45),
    (HEIGHT - 5, STEPS + 2, 3 * WIDTH + 5),
]
remainders = pytest.mark.parametrize("rest", range(16))


def numbers(*shape, seed=0):
    draw = np.random.default_rng(seed + sum(shape))
    return draw.standard_normal(shape).astype(np.float32)


def scratch():
    """Memory in which nothing is to be relied on."""
    return np.full(packed.SCRATCH, np.nan, np.float32)


def multiply(product, c, left, right, bias, add, steps, grid=(HEIGHT, 10**6)):
    """The product, block by block."""
    memory, (height, width) = scratch(), grid
    for row in range(0, len(c), height):
        for column in range(0, c.shape[1], width):
            block = (
                (row, min(row + height, len(c))),
                (column, min(column + width, c.shape[1])),
            )
            product(c, left, right, bias, add, steps, *block, memory)
    return c


def operands(product, rows, steps, columns):
    """(left, right) as they lie, and both as plain matrices."""
    a, b = numbers(rows, steps), numbers(steps, columns, seed=1)
    turned = np.ascontiguousarray
    pairs = {
        "forward": (a, turned(b.T)),
        "input_gradient": (a, b),
        "weight_gradient": (turned(a.T), b),
    }
    return *pairs[product], a, b


PRODUCTS = "forward", "input_gradient", "weight_gradient"
every = pytest.mark.parametrize("name", PRODUCTS)


@every
@pytest.mark.parametrize("sizes", SIZES)
def test_a_product_is_as_exact_as_torchs(name, sizes):
    rows, steps, columns = sizes
    left, right, a, b = operands(name, rows, steps, columns)
    bias, before = numbers(columns), numbers(rows, columns)
    product = getattr(packed, name)
    exact = a.astype(np.float64) @ b
    theirs = (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()
    allowed = 2 * np.abs(theirs - exact).max() + 1e-6
    ours = multiply(
        product, before.copy(), left, right, packed.NO_BIAS, SET, steps
    )
    assert np.abs(ours - exact).max() <= allowed
    more = multiply(product, before.copy(), left, right, bias, ADD, steps)
    assert np.abs(more - (before + exact + bias)).max() <= allowed + 1e-6


@every
@remainders
def test_every_remainder_of_a_tile_and_of_a_vector(name, rest):
    rows, steps, columns = ROWS + rest, 8 + rest, WIDTH + rest
    left, right, a, b = operands(name, rows, steps, columns)
    c = np.full((rows, columns), np.nan, np.float32)
    product = getattr(packed, name)
    multiply(product, c, left, right, packed.NO_BIAS, SET, steps)
    assert np.allclose(c, a @ b, atol=1e-4)


@every
def test_a_block_reads_its_own_rows_and_columns_and_writes_nothing_else(name):
    rows, steps, columns = 5 * ROWS, 21, 5 * WIDTH
    left, right, a, b = operands(name, rows, steps, columns)
    inner = np.s_[2 * ROWS : 3 * ROWS + 1], np.s_[WIDTH : 2 * WIDTH + 3]
    outside_a, outside_b = np.ones(rows, bool), np.ones(columns, bool)
    outside_a[inner[0]] = outside_b[inner[1]] = False
    turned = name != "weight_gradient", name == "forward"
    left[outside_a if turned[0] else np.s_[:, outside_a]] = np.nan
    right[outside_b if turned[1] else np.s_[:, outside_b]] = np.nan
    c = np.full((rows, columns), 7, np.float32)
    block = [(s.start, s.stop) for s in inner]
    product = getattr(packed, name)
    # A last tile is cut off only by the end of C.
    rows_of_c, columns_of_c = (last for _, last in block)
    view = np.ascontiguousarray(c[:rows_of_c, :columns_of_c])
    product(view, left, right, packed.NO_BIAS, SET, steps, *block, scratch())
    assert np.allclose(view[inner], a[inner[0]] @ b[:, inner[1]], atol=1e-4)
    view[inner] = 7
    assert (view == 7).all()


@every
def test_how_a_product_is_cut_does_not_change_a_bit(name):
    left, right, _, _ = operands(name, 3 * ROWS + 1, 2 * STEPS + 1, 90)
    product, found = getattr(packed, name), []
    for grid in ((HEIGHT, 96), (ROWS, WIDTH), (2 * ROWS, 2 * WIDTH)):
        c = np.zeros((3 * ROWS + 1, 90), np.float32)
        args = c, left, right, numbers(90), SET, 2 * STEPS + 1
        found.append(multiply(product, *args, grid))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@every
def test_nan_and_infinity_stay_in_their_rows(name):
    left, right, a, _ = operands(name, 2 * ROWS + 3, 13, 41)
    turned = name != "weight_gradient"
    left[(3, 5) if turned else (5, 3)] = np.nan
    left[(ROWS, 5) if turned else (5, ROWS)] = np.inf
    c = np.zeros((len(a), 41), np.float32)
    product = getattr(packed, name)
    multiply(product, c, left, right, packed.NO_BIAS, SET, 13)
    assert np.isnan(c[3]).all() and np.isinf(c[ROWS]).all()
    c[[3, ROWS]] = 0
    assert np.isfinite(c).all()


def test_one_number_by_hand():
    x, weight = np.float32([[1, 2]]), np.float32([[3, 4]])
    c, bias = np.zeros((1, 1), np.float32), np.float32([0.5])
    multiply(packed.forward, c, x, weight, bias, SET, 2)
    assert c[0, 0] == 1 * 3 + 2 * 4 + 0.5


def test_a_layers_three_products_differ_in_how_their_operands_lie():
    x, weight, dy = numbers(5, 7), numbers(11, 7), numbers(5, 11)
    none = packed.NO_BIAS
    y, dx, dw = (np.zeros(s, np.float32) for s in ((5, 11), (5, 7), (11, 7)))
    multiply(packed.forward, y, x, weight, none, SET, 7)
    multiply(packed.input_gradient, dx, dy, weight, none, SET, 11)
    multiply(packed.weight_gradient, dw, dy, x, none, SET, 5)
    tx, tw = (torch.from_numpy(a).requires_grad_() for a in (x, weight))
    ty = tx @ tw.T
    ty.backward(torch.from_numpy(dy))
    for ours, theirs in ((y, ty.detach()), (dx, tx.grad), (dw, tw.grad)):
        assert np.allclose(ours, theirs, atol=1e-5)
