"""A set of kernels and what tasks need besides: clear, finite, two halves.

    first, last = rows of dweight, and of dbias, that a task computes
"""

import numpy as np

from llmnotes.transformer.gpt2_by_hand import loops, reference
from llmnotes.transformer.gpt2_by_hand.products import add_product, jit


class Added:
    """What no set of kernels has: the same for all of them."""

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
        """dinp += dout·W."""
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
    """dinp += dout·W."""
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
