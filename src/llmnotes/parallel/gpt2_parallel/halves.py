"""A set of kernels and what tasks need besides: clear, finite, two halves.

first, last = rows of dweight, and of dbias, that a task computes
sets        = backwards of which there is one that sets, `name + "_first"`
"""

import numpy as np
from numba import njit

from llmnotes.compiled import keep
from llmnotes.kernels.gemm import packed
from llmnotes.parallel.gpt2_parallel import linear
from llmnotes.parallel.gpt2_parallel.forkjoin import ForkJoin, matrix
from llmnotes.parallel.gpt2_parallel.pointwise import COLUMNS
from llmnotes.transformer.gpt2_by_hand import loops, reference
from llmnotes.transformer.gpt2_by_hand.products import add_product, jit


class Added:
    """What no set of kernels has: the same for all of them."""

    sets: frozenset[str] = frozenset()

    def __init__(self, kernels):
        self.kernels = kernels

    def __getattr__(self, name):
        """All other kernels are those of the set."""
        return getattr(self.kernels, name)

    def clear(self, x: np.ndarray) -> None:
        """Zeros."""
        x[...] = 0

    def finite(self, losses: np.ndarray) -> None:
        """Raise `RuntimeError` unless every loss is a number."""
        loss = float(losses.mean(dtype=np.float64))
        if not np.isfinite(loss):
            raise RuntimeError(
                f"loss: got {loss}, expected a number; no parameter was "
                "changed"
            )


class Plain(Added):
    """NumPy's kernels."""

    def __init__(self):
        super().__init__(reference)

    def matmul_backward_input(self, dinp, dout, weight) -> None:
        """Dinp += dout·W."""
        dinp += dout @ weight

    def matmul_backward_weight(
        self, dweight, dbias, dout, inp, first, last
    ) -> None:
        """Some rows of dW += doutᵀ·inp, and of db."""
        rows, drows = (x.reshape(-1, x.shape[-1]) for x in (inp, dout))
        dweight[first:last] += drows[:, first:last].T @ rows
        if dbias is not None:
            dbias[first:last] += drows[:, first:last].sum(0)


@jit
def input_half(dinp, dout, weight):
    """Dinp += dout·W."""
    add_product(loops.rows(dinp), loops.rows(dout), weight)


@jit
def weight_half(dweight, dbias, dout, inp, first, last):
    """Some rows of dW += doutᵀ·inp, and of db."""
    dy = loops.rows(dout)
    add_product(dweight[first:last], dy.T[first:last], loops.rows(inp))
    if dbias is not None:
        for n in range(dy.shape[0]):
            for o in range(first, last):
                dbias[o] += dy[n, o]


class Loops(Added):
    """numba's serial loops; they release the GIL."""

    matmul_backward_input = staticmethod(input_half)
    matmul_backward_weight = staticmethod(weight_half)

    def __init__(self):
        super().__init__(loops)


EMPTY = np.empty((0, 0), np.float32)


@njit(nogil=True)  # not FAST: what it calls would inherit that
def weight_rows(scratch, dweight, dbias, dout, inp, first, last, grid, add):
    """Some rows of dW, block by block, and of db."""
    height, width = grid
    for top in range(first, last, height):
        rows = top, min(top + height, last)
        for start in range(0, dweight.shape[1], width):
            columns = start, min(start + width, dweight.shape[1])
            packed.weight_gradient(
                dweight, dout, inp, dbias[:0], add, len(inp), rows, columns,
                scratch,
            )  # fmt: skip
    for start in range(first, min(last, dbias.size), COLUMNS):
        linear.sum_columns(dbias[:last], dout, start, add)


keep(weight_rows)


class Fast(Added):
    """The fork-join kernels, by a team of one: one set for each thread."""

    sets = frozenset(
        f"{name}_backward"
        for name in ("gelu", "residual", "crossentropy_softmax")
    ) | {"matmul_backward_input", "matmul_backward_weight"}

    def __init__(self):
        super().__init__(ForkJoin(1))

    def matmul_backward_input(self, dinp, dout, weight, add=True) -> None:
        """Dinp += dout·W."""
        dinp = matrix(dinp)
        cut = linear.grid(*dinp.shape, 1)
        count = linear.items(dinp.shape, cut)
        self.kernels.team.run(
            linear.matmul_backward, count, dinp, EMPTY, linear.NONE,
            matrix(dout), EMPTY, weight, (cut, cut), (0, count),
            np.bool_(add),
        )  # fmt: skip

    def matmul_backward_input_first(self, dinp, dout, weight) -> None:
        """The same, set."""
        self.matmul_backward_input(dinp, dout, weight, add=False)

    def matmul_backward_weight(
        self, dweight, dbias, dout, inp, first, last, add=True
    ) -> None:
        """Some rows of dW += doutᵀ·inp, and of db."""
        grid = linear.grid(last - first, dweight.shape[1], 1)
        dbias = linear.NONE if dbias is None else dbias
        weight_rows(
            self.kernels.team.scratch[0], dweight, dbias, matrix(dout),
            matrix(inp), first, last, grid, np.bool_(add),
        )  # fmt: skip

    def matmul_backward_weight_first(
        self, dweight, dbias, dout, inp, first, last
    ) -> None:
        """The same, set."""
        self.matmul_backward_weight(
            dweight, dbias, dout, inp, first, last, add=False
        )
