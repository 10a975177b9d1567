"""Loops compiled by numba, and an exponential function that vectorises.

keep = have numba keep a compiled loop on disk
jit  = compile a loop that is kept, for speed rather than the last bit
exp  = eˣ for float32, inside such loops

numba's cache watches the file of a loop, not those of what the loop calls.
So the text of files is part of what `keep` has it watch.
"""

import hashlib
import inspect
from pathlib import Path

import numpy as np
from numba import njit

one = np.float32(1)

compile_loop = njit(fastmath=True, error_model="numpy", nogil=True)


def keep(loop, *files: str):
    """Keep a compiled loop on disk until its file or one of `files` changes.

    Returns the loop. One that was typed at a prompt has no file to watch and
    is compiled anew, and so is every loop under NUMBA_DISABLE_JIT.
    """
    try:
        loop.enable_caching()
    except (AttributeError, RuntimeError):
        return loop
    index = loop._cache._cache_file
    text = b"".join(Path(file).read_bytes() for file in files)
    index._source_stamp = (
        index._source_stamp,
        hashlib.sha256(text).hexdigest(),
    )
    return loop


def jit(function):
    """Compile a loop, once per machine and text of the two files.

    Under pytest, jaxtyping wraps every function of the package; numba could
    not store such a wrapper, and there is nothing in it to check.
    """
    return keep(compile_loop(inspect.unwrap(function)), __file__)


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
