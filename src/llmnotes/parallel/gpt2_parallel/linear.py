"""A linear layer's three products, cut into items for a team.

    out, dout      = (rows, outputs); inp, dinp = (rows, inputs)
    weight, dweight = (outputs, inputs); bias, dbias = (outputs,), or none
    grid           = (height, width): rows and columns of C in an item
    add            = += instead of =
    every worker's first arguments: a share of the items, then scratch memory

Each item packs what it needs by itself, so that items of different products
run side by side: the whole backward of a layer is one fork.
"""

import math

import numpy as np
from numba import njit

from llmnotes.compiled import keep
from llmnotes.kernels.gemm import packed
from llmnotes.kernels.gemm.packed import HEIGHT, ROWS, WIDTH
from llmnotes.parallel.gpt2_parallel.pointwise import COLUMNS
from llmnotes.parallel.gpt2_parallel.team import taken

NONE = packed.NO_BIAS
BREADTH = 768  # columns for which it pays to pack HEIGHT rows


def pieces(size: int, most: int, count: int, unit: int) -> int:
    """Numbers in a piece, a multiple of unit: at least `count` pieces."""
    count = max(count, math.ceil(size / most))
    return math.ceil(size / count / unit) * unit


def grid(rows: int, columns: int, threads: int) -> tuple[int, int]:
    """Height and width of the items: as many for each thread.

    Of a product with few rows the columns are dealt out, else the rows.
    """
    if rows <= HEIGHT:
        height = pieces(rows, HEIGHT, 1, ROWS)
        count = math.ceil(columns / BREADTH / threads) * threads
        return height, pieces(columns, BREADTH, count, WIDTH)
    width = pieces(columns, BREADTH, 1, WIDTH)
    across = math.ceil(columns / width)
    least = math.ceil(rows / HEIGHT)
    while least * across % threads:
        least += 1
    return pieces(rows, HEIGHT, least, ROWS), width


def items(shape: tuple[int, int], grid: tuple[int, int]) -> int:
    """How many items a matrix of this shape has."""
    return math.prod(
        math.ceil(size / piece)
        for size, piece in zip(shape, grid, strict=True)
    )


@njit
def place(c, grid, item):
    """Rows and columns of an item, each as (first, last)."""
    (rows, columns), (height, width) = c.shape, grid
    across = -(-columns // width)
    row, column = item // across * height, item % across * width
    bottom, end = min(row + height, rows), min(column + width, columns)
    return (row, bottom), (column, end)


@njit(nogil=True)
def matmul_forward(queue, step, end, scratch, out, inp, weight, bias, grid):
    """Out = inp · weightᵀ + bias."""
    steps, add = inp.shape[1], np.bool_(False)
    for item in taken(queue, step, end):
        rows, columns = place(out, grid, item)
        packed.forward(
            out, inp, weight, bias, add, steps, rows, columns, scratch
        )


@njit
def sum_columns(dbias, dout, first, add):
    """Some columns of dout, summed over all rows, top down."""
    last = min(first + COLUMNS, dbias.size)
    if not add:
        dbias[first:last] = 0
    for row in range(dout.shape[0]):
        dy = dout[row]
        for c in range(first, last):
            dbias[c] += dy[c]


@njit(nogil=True)
def matmul_backward(
    queue,
    step,
    end,
    scratch,
    dinp,
    dweight,
    dbias,
    dout,
    inp,
    weight,
    grids,
    counts,
    add,
):
    """Dweight = doutᵀ · inp, dinp = dout · weight, dbias = Σ dout."""
    rows_steps, out_steps = inp.shape[0], dout.shape[1]
    for item in taken(queue, step, end):
        if item < counts[0]:
            rows, columns = place(dweight, grids[0], item)
            packed.weight_gradient(
                dweight, dout, inp, dbias[:0], add, rows_steps, rows, columns,
                scratch,
            )  # fmt: skip
        elif item < counts[0] + counts[1]:
            rows, columns = place(dinp, grids[1], item - counts[0])
            packed.input_gradient(
                dinp, dout, weight, dbias[:0], add, out_steps, rows, columns,
                scratch,
            )  # fmt: skip
        else:
            first = (item - counts[0] - counts[1]) * COLUMNS
            sum_columns(dbias, dout, first, add)


for one in (matmul_forward, matmul_backward):
    keep(one)
