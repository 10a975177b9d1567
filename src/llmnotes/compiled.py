"""Loops compiled by numba, and an exponential function that vectorises.

keep = have numba keep a compiled loop on disk
jit  = compile a loop that is kept, for speed rather than the last bit
exp  = eˣ for float32, inside such loops

numba's cache watches the file of a loop, not those of what the loop calls,
nor the numbers it takes from elsewhere. So `keep` looks for them. Compiled
loops lie in __pycache__ beside their file, or in the folder that the
environment variable NUMBA_CACHE_DIR names; `make clean` removes the first.

Machine code has names, and numba tells functions of one name apart by how
many it had compiled before, a count that every process starts at 1. Two loops
kept by two processes may so hold two functions under one name; where both are
loaded, the second gets the first one's (numba issue 10486). So `NUMBERS`
stands for that count here: drawn at random, no two are alike.
"""

import contextlib
import hashlib
import inspect
import secrets
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np
from numba import njit
from numba.core.bytecode import FunctionIdentity

NUMBERS = iter(partial(secrets.randbits, 62), None)
FunctionIdentity._unique_ids = NUMBERS

one = np.float32(1)

LIBRARIES = {"numba", "numpy", "llvmlite", "math", "operator", "builtins"}
compile_loop = njit(fastmath=True, error_model="numpy", nogil=True)


def keep(loop, *files: str):
    """Keep a compiled loop on disk until something it depends on changes.

    That is its file, the files of all that it calls and the numbers that it
    takes from elsewhere; `files` are watched as well. Returns the loop. One
    that was typed at a prompt has no file to watch and is compiled anew, and
    so is every loop under NUMBA_DISABLE_JIT.
    """
    try:
        loop.enable_caching()
    except (AttributeError, RuntimeError):
        return loop
    index = loop._cache._cache_file
    index._source_stamp = index._source_stamp, stamp(loop, files)
    return loop


def stamp(loop, files: tuple[str, ...]) -> str:
    """A digest of the files and the numbers that a loop depends on."""
    paths, numbers = {Path(file) for file in (__file__, *files)}, []
    for name, value in needed(loop.py_func, set()):
        if isinstance(value, Path):
            paths.add(value)
        else:
            numbers.append(f"{name} = {value!r}")
    texts = [path.read_bytes() for path in sorted(paths)]
    texts.append("\n".join(sorted(numbers)).encode())
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def needed(function, seen: set) -> Iterator[tuple[str, Any]]:
    """The files of all that a function calls, and the numbers it takes."""
    if function in seen or not hasattr(function, "__code__"):
        return
    seen.add(function)
    yield "", Path(inspect.getfile(function))
    place = f"{function.__module__}:{function.__qualname__}"
    for name, value in outside(function):
        if is_number(value):
            yield f"{place}: {name}", value
        elif isinstance(value, ModuleType):
            if ours(value.__name__):
                yield "", Path(value.__file__)
        elif ours(getattr(value, "__module__", None)):
            # Of a compiled loop, and of what writes machine code itself.
            inner = getattr(value, "py_func", getattr(value, "_defn", value))
            yield from needed(inspect.unwrap(inner), seen)


def ours(module: str | None) -> bool:
    """Whether a module may be edited; numba's cache knows numba's version."""
    return (module or "numba").partition(".")[0] not in LIBRARIES


def is_number(value: object) -> bool:
    """Whether a compiled loop holds this itself, as it was."""
    if isinstance(value, tuple):
        return all(map(is_number, value))
    return isinstance(value, bool | int | float | str | np.generic)


def outside(function) -> Iterator[tuple[str, Any]]:
    """What a function's names stand for where it was written."""
    code, cells = function.__code__, function.__closure__ or ()
    for name, cell in zip(code.co_freevars, cells, strict=True):
        with contextlib.suppress(ValueError):  # a loop that is not there yet
            yield name, cell.cell_contents
    for name in names(code) & function.__globals__.keys():
        yield name, function.__globals__[name]


def names(code: CodeType) -> set[str]:
    """The names in a function and in those inside it."""
    inner = (names(c) for c in code.co_consts if isinstance(c, CodeType))
    return set(code.co_names).union(*inner)


def jit(function):
    """Compile a loop, once per machine and text of what it depends on.

    Under pytest, jaxtyping wraps every function of the package; numba could
    not store such a wrapper, and there is nothing in it to check.
    """
    return keep(compile_loop(inspect.unwrap(function)))


@jit
def exp(x):
    """eˣ as 2ᵏ·eᶠ: k into the exponent's bits, eᶠ by its Taylor series.

    numba's own `math.exp` is a call per number; this one vectorises. Its
    relative error grows with |x|, from 2e-7 to less than 1e-5 at 87.
    """
    t = x * np.float32(1.4426950408889634)
    t = min(max(t, np.float32(-126)), np.float32(126))
    k = np.int32(t + np.float32(126.5)) - np.int32(126)
    f = (t - np.float32(k)) * np.float32(0.6931471805599453)
    p = np.float32(1 / 720)
    p = p * f + np.float32(1 / 120)
    p = p * f + np.float32(1 / 24)
    p = p * f + np.float32(1 / 6)
    p = p * f + np.float32(1 / 2)
    p = p * f + one
    p = p * f + one
    bits = np.int32((k + np.int32(127)) << np.int32(23))
    return p * bits.view(np.float32)
