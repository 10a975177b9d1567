"""ggml itself, through ctypes: what the formats are compared with."""

import ctypes
from pathlib import Path

import ggml
import numpy as np


class _Parameters(ctypes.Structure):
    _fields_ = [
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    ]


def _library():
    home = Path(ggml.__file__).parent.parent / "lib"
    found = ctypes.CDLL(str(home / "libggml-base.so"))
    found.ggml_init.argtypes = [_Parameters]
    found.ggml_init.restype = ctypes.c_void_p
    found.ggml_init(_Parameters(2**20, None, False))  # fills its tables
    return found


LIBRARY = _library()


def encode(name, x, nbytes):
    """The bytes that ggml makes of some weights."""
    out = np.zeros(nbytes, np.uint8)
    _call(f"quantize_row_{_theirs(name)}_ref", x, out, x.size)
    return out


def decode(name, raw, count):
    """The weights that ggml makes of some bytes."""
    out = np.zeros(count, np.float32)
    _call(f"dequantize_row_{_theirs(name)}", raw, out, count)
    return out


def _theirs(name):
    return name.replace("_k", "_K")


def _call(name, given, out, count):
    function = getattr(LIBRARY, name)
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    function.restype = None
    given = np.ascontiguousarray(given)
    function(given.ctypes.data, out.ctypes.data, count)
