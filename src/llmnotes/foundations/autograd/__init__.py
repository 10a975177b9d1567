"""Reverse mode on NumPy arrays: the engine, a picture of its graph, an MLP."""

from llmnotes.foundations.autograd.engine import (
    Tensor,
    as_floats,
    birth,
    births,
    fit,
    gradients,
    matmul,
    new,
    node,
    raw,
    same,
    scatter,
    spread,
    topological_order,
)
