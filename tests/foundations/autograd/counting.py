"""Arrays that count the multiply-adds of the matrix products they are in."""

import numpy as np


class Counted(np.ndarray):
    """A plain array otherwise; what is computed from it counts, too."""

    done = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if any(not isinstance(x, np.ndarray | np.generic) for x in inputs):
            if any(hasattr(x, "tangent") for x in inputs):
                return NotImplemented  # a dual number knows how
        plain = [
            x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs
        ]
        out = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            Counted.done += out.size * np.shape(plain[0])[-1]
        return np.asarray(out).view(Counted)


def counted(array):
    return np.asarray(array).view(Counted)


def multiply_adds(go):
    """How many multiply-adds of matrix products a call needs."""
    before = Counted.done
    go()
    return Counted.done - before
