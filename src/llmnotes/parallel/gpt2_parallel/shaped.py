"""Arrays that compiled loops may be shown: checked before the first write.

letters = sizes by name, "b t c"; one letter, one size in a call
"""

import functools
import inspect
from collections.abc import Callable

import numpy as np


def shaped(**letters: str) -> Callable:
    """Check a method's arrays: their shapes, float32, no gaps.

    What is called `inp` or `targets` of shape "b t" holds ids, int32. An
    argument that is None is passed over.
    """

    def decorate(method):
        names = list(inspect.signature(method).parameters)
        pairs = [(i, n, letters[n].split()) for i, n in enumerate(names)
                 if n in letters]  # fmt: skip

        @functools.wraps(method)
        def checked(*arguments):
            sizes = {}
            for i, name, axes in pairs:
                if arguments[i] is not None:
                    check(name, arguments[i], axes, sizes)
            return method(*arguments)

        return checked

    return decorate


def check(name: str, x: np.ndarray, axes: list[str], sizes: dict) -> None:
    """Raise `ValueError` unless x is what its letters say; learn new ones."""
    ids = name in ("inp", "targets") and len(axes) == 2
    dtype = np.int32 if ids else np.float32
    if x.dtype != dtype or not x.flags.c_contiguous:
        gaps = "" if x.flags.c_contiguous else " with gaps"
        raise ValueError(
            f"{name}: got {x.dtype}{gaps}, expected {np.dtype(dtype)} without "
            "gaps"
        )
    if axes == ["..."]:
        axes = [f"axis {i}" for i in range(x.ndim)]
    fits = x.ndim == len(axes)
    if not fits or any(
        sizes.setdefault(axis, size) != size
        for axis, size in zip(axes, x.shape, strict=True)
    ):
        wanted = ", ".join(f"{axis}={sizes.get(axis, '?')}" for axis in axes)
        raise ValueError(f"{name}: got shape {x.shape}, expected ({wanted})")


def check_ids(name: str, ids: np.ndarray, count: int) -> None:
    """Raise `ValueError` for an id that is none of 0 … count - 1."""
    wrong = ids[(ids < 0) | (ids >= count)]
    if wrong.size:
        raise ValueError(f"{name}: got {wrong[0]}, expected 0 to {count - 1}")


def check_length(inp: np.ndarray, table: np.ndarray) -> None:
    """Raise `ValueError` for more tokens than positions."""
    if inp.shape[1] > len(table):
        raise ValueError(
            f"inp: got length {inp.shape[1]}, expected at most {len(table)}"
        )


def check_tokens(V: int, logits: np.ndarray, targets=None) -> None:
    """Raise `ValueError` unless V columns are there, and targets in them."""
    if not 1 <= V <= logits.shape[-1]:
        raise ValueError(
            f"V: got {V}, expected 1 to {logits.shape[-1]} columns"
        )
    if targets is not None:
        check_ids("targets", targets, V)
