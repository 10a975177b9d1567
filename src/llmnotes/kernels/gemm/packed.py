"""Matrix products of any size, from packed panels and one register tile.

A register tile runs at the speed of its multiply-adds only while its two
operands stream out of the cache in the order in which it reads them. Weights
and activations do not lie in that order, so we copy: a panel holds some
neighbouring rows or columns of a matrix, step by step.

    C      = Σ over steps of left[step]ᵀ · right[step]
    panel  = panel[step, i], i < ROWS on the left, < WIDTH on the right
    lying  = x[step, i], steps go down the memory (each a row of x)
    turned = x[i, step], steps go along the memory (each a column of x)
    STEPS  = steps in a panel; HEIGHT = most rows of C between two packings
    SUM    = steps that are added up before C takes them in
    corner = a tile of its own, for the edges of C

The three products of a linear layer differ in nothing but how their operands
lie; `weight` is (out, in), so that y = x Wᵀ + b:

    y  (rows, out) = x, turned,   weight, turned
    dx (rows, in)  = dy, turned,  weight, lying
    dW (out, in)   = dy, lying,   x, lying

Packing costs one copy of each number per block of C, whose numbers each take
part in hundreds of multiply-adds. A bias is one more step: a row of ones on
the left, the bias on the right.

Sources
- Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix
  Multiplication", §4 and §5 (panels, and why their sizes follow the caches).
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from llmnotes.kernels.gemm.tiles import (
    LANES,
    REGISTERS,
    constant,
    element,
    emit_load,
    emit_step,
    emit_store,
    load,
    store,
    transpose_tile,
)

# ROWS fills the registers, and is below LANES or a multiple of it.
ROWS = 12 if REGISTERS == 32 else 6 if LANES == 8 else 4
VECTORS = 2
WIDTH = VECTORS * LANES
STEPS, SUM = 768, 384
HEIGHT = 252 // ROWS * ROWS + ROWS
NO_BIAS = np.empty(0, np.float32)
ONE = np.float32(1)

# Numbers in a right panel, a left panel, and all scratch memory of a thread;
# a vector written to a panel may reach past its last number.
RIGHT, LEFT = (STEPS + 1) * WIDTH, (STEPS + 1) * ROWS
SCRATCH = ROWS * WIDTH + RIGHT + HEIGHT // ROWS * LEFT + LANES


@njit
def pack_lying(panel, x, first, step):
    """panel[k, i] = x[step + k, first + i]; past x's last column, junk."""
    steps, width = panel.shape
    if first + -(-width // LANES) * LANES <= x.shape[1]:
        for k in range(steps):
            for i in range(0, width, LANES):
                store(load(x, step + k, first + i), panel, k, i)
    else:
        for k in range(steps):
            for i in range(min(width, x.shape[1] - first)):
                panel[k, i] = x[step + k, first + i]


@njit
def pack_turned(panel, x, first, step):
    """panel[k, i] = x[first + i, step + k]; past x's last row, junk.

    Squares of LANES x LANES are turned in registers; what is left of the
    steps follows one by one.
    """
    (steps, width), rows = panel.shape, x[first:]
    whole = steps - steps % LANES
    for k in range(0, whole, LANES):
        square = panel[k:]
        for i in range(0, width, LANES):
            turn(square, rows, i, step + k)
    for k in range(whole, steps):
        for i in range(min(width, rows.shape[0])):
            panel[k, i] = rows[i, step + k]


@njit
def turn(square, rows, i, step):
    """square[j, i + lane] = rows[i + lane, step + j] for LANES of each."""
    transpose_tile(square, rows[:, step:], i, 0, ONE)


@intrinsic
def put_tile(typing, c, row, column, left, at, right, to, steps, add):
    """Multiply two panels into a whole tile of C, from row and column on.

    `left` and `right` are flat; panels begin at `at` and `to`. The sum
    begins at 0 and what C holds is added last: a short sum rounds less.
    """
    i = types.intp
    kinds = c, i, i, left, i, right, i, i, types.boolean
    return types.void(*kinds), emit_panels


def emit_prefetch(builder, pointer):
    """Ask for the cache line at a pointer, which will be written to."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, *[number] * 3])
    name = "llvm.prefetch.p0i8"
    prefetch = cgutils.get_or_insert_function(builder.module, kind, name)
    how = [number(n) for n in (1, 3, 1)]  # to write, keep near, data
    builder.call(prefetch, [builder.bitcast(pointer, byte), *how])


def emit_panels(context, builder, signature, args):
    """Instructions of `put_tile`: the sums stay in registers.

    C's lines are far away when a tile begins, and asked for at once: when
    its sums are ready, the lines are there.
    """
    c, row, column, left, at, right, to, steps, add = args
    kinds = signature.args

    def shifted(index, n):
        return builder.add(index, ir.Constant(index.type, n))

    def numbers(which, array):
        return make_array(kinds[which])(context, builder, array).data

    left = builder.gep(numbers(3, left), [at])
    right = builder.gep(numbers(5, right), [to])
    places = {
        (r, v): element(
            context, builder, kinds[0], c, shifted(row, r),
            shifted(column, v * LANES),
        )
        for r in range(ROWS)
        for v in range(VECTORS)
    }  # fmt: skip
    for (_, v), place in places.items():
        if v * LANES % 16 == 0:  # float32 numbers in a cache line
            emit_prefetch(builder, place)
    sums = {
        cell: cgutils.alloca_once_value(builder, constant(0.0))
        for cell in places
    }

    def neighbours(base, step, width, apart):
        first = builder.mul(step, ir.Constant(step.type, width))
        starts = (shifted(first, i) for i in range(0, width, apart))
        return [builder.gep(base, [at]) for at in starts]

    with cgutils.for_range(builder, steps) as loop:
        ones = neighbours(left, loop.index, ROWS, 1)
        emit_step(
            builder, sums, ones, neighbours(right, loop.index, WIDTH, LANES)
        )
    with builder.if_then(add):
        for cell, place in places.items():
            old = emit_load(builder, place)
            new = builder.fadd(old, builder.load(sums[cell]))
            builder.store(new, sums[cell])
    for cell, place in places.items():
        emit_store(builder, builder.load(sums[cell]), place)
    return context.get_dummy_value()


@njit
def put_sums(c, row, column, left, at, right, steps, add):
    """A whole tile in sums of about SUM steps; C is near after the first."""
    parts = max(1, (steps + SUM // 2) // SUM)
    size = -(-steps // parts)
    for step in range(0, steps, size):
        here, to = at + step * ROWS, step * WIDTH
        count, more = min(size, steps - step), add or step > 0
        put_tile(c, row, column, left, here, right, to, count, more)


@njit
def put(c, row, column, left, at, right, steps, corner, add):
    """Multiply two panels into C: a whole tile, or by way of the corner."""
    rows, columns = c.shape[0] - row, c.shape[1] - column
    if rows >= ROWS and columns >= WIDTH:
        put_sums(c, row, column, left, at, right, steps, add)
        return
    for i in range(min(rows, ROWS)):
        for j in range(min(columns, WIDTH)):
            corner[i, j] = c[row + i, column + j] if add else np.float32(0)
    put_sums(corner, 0, 0, left, at, right, steps, add)
    for i in range(min(rows, ROWS)):
        for j in range(min(columns, WIDTH)):
            c[row + i, column + j] = corner[i, j]


@njit
def with_ones(panel, steps):
    """A row of ones after the last step: what a bias is multiplied by."""
    for i in range(panel.shape[1]):
        panel[steps, i] = ONE


def product(pack_left, pack_right):
    """Make a product from how its operands lie."""

    @njit
    def pack_block(panels, x, rows, step, steps, depth):
        first, last = rows
        for p in range(-(-(last - first) // ROWS)):
            panel = panels[p * LEFT :][: depth * ROWS].reshape(depth, ROWS)
            pack_left(panel[:steps], x, first + p * ROWS, step)
            if steps < depth:
                with_ones(panel, steps)

    @njit
    def multiply(c, left, right, bias, add, steps, rows, columns, scratch):
        """C[rows, columns] = leftᵀ right + bias; += if `add`.

        `rows` and `columns` are pairs (first, last); each first is where a
        tile of C begins, counted from 0, and there are at most HEIGHT rows.
        `bias` has a number for each column of C, or none at all. `scratch`
        has SCRATCH numbers.
        """
        (top, bottom), (start, stop) = rows, columns
        corner = scratch[: ROWS * WIDTH].reshape(ROWS, WIDTH)
        shared = scratch[ROWS * WIDTH :]
        panels = shared[RIGHT:]
        for step in range(0, steps, STEPS):
            here = depth = min(STEPS, steps - step)
            if step == 0 and bias.size:
                depth += 1
            panel = shared[: depth * WIDTH].reshape(depth, WIDTH)
            pack_block(panels, left, rows, step, here, depth)
            for column in range(start, stop, WIDTH):
                pack_right(panel[:here], right, column, step)
                if here < depth:
                    for j in range(min(WIDTH, bias.size - column)):
                        panel[here, j] = bias[column + j]
                for row in range(top, bottom, ROWS):
                    place = (row - top) // ROWS * LEFT
                    put(
                        c, row, column, panels, place, shared, depth, corner,
                        add or step > 0,
                    )  # fmt: skip

    return multiply


forward = product(pack_turned, pack_turned)
input_gradient = product(pack_turned, pack_lying)
weight_gradient = product(pack_lying, pack_lying)
