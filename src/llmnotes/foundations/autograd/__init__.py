"""Reverse mode on NumPy arrays: the engine, a picture of its graph, an MLP."""

from llmnotes.foundations.autograd.backward import (
    gradients,
    real_numbers,
    topological_order,
)
from llmnotes.foundations.autograd.engine import (
    Tensor,
    as_floats,
    birth,
    births,
    matmul,
    new,
    node,
    power,
    raw,
    stack,
)
from llmnotes.foundations.autograd.pulls import (
    along_exponent,
    fit,
    same,
    scatter,
    spread,
)
