"""The way back: gradients, from the output to all that it was made from.

    arriving = v̄ of each node that something has reached, summed so far
    order    = the nodes by birth; read backwards, all of v̄ has arrived

Source: Baydin et al. 2018, "Automatic differentiation in machine learning: a
survey", arXiv 1502.05767, §3.2.
"""

import numpy as np

from llmnotes.foundations.autograd.engine import Tensor, birth
from llmnotes.foundations.autograd.pulls import fit


def topological_order(output):
    """All that `output` was made from and itself, sources first.

    A node is younger than its sources, so the order of birth will do. The
    search keeps a list of its own: no graph is too deep for it.
    """
    seen, waiting = {output}, [output]
    while waiting:
        for source, _ in waiting.pop().edges:
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return sorted(seen, key=birth)


def check_tensors(output, inputs) -> None:
    """Raise `ValueError` unless output and all inputs are Tensors."""
    if isinstance(inputs, Tensor):
        raise ValueError("inputs: got one Tensor, expected a list of them")
    named = {f"inputs[{i}]": x for i, x in enumerate(inputs)}
    for name, x in {"output": output, **named}.items():
        if not isinstance(x, Tensor):
            kind = type(x).__name__
            raise ValueError(f"{name}: got {kind}, expected a Tensor")


def first_gradient(output, upstream):
    """Return what arrives at the output: `upstream`, or 1 at one number."""
    if upstream is None and output.array.size == 1:
        return np.ones(output.shape, output.dtype)
    if upstream is not None and not hasattr(upstream, "tangent"):
        upstream = real_numbers(upstream, "upstream")
    shape = None if upstream is None else upstream.shape
    if shape != output.shape:
        raise ValueError(
            f"upstream: got shape {shape}, expected output's {output.shape}"
        )
    return upstream.astype(output.dtype)


def real_numbers(x, name):
    """Return x as an array; `ValueError` if it is not of real numbers."""
    kind = type(x).__name__
    if not isinstance(x, Tensor):
        x = np.asarray(x)
        kind = kind if x.dtype.kind == "O" else x.dtype
    if isinstance(x, Tensor) or x.dtype.kind not in "fiub":
        raise ValueError(f"{name}: got {kind}, expected real numbers")
    return x


def gradients(output, inputs, upstream=None):
    """∂ Σ(output · upstream) / ∂x for every Tensor x in `inputs`.

    `upstream` (output's shape) may be left out where output is one number;
    then it is 1. An input that output was not made from gets zeros.

    Raises `ValueError` naming the argument that does not fit.
    """
    inputs = inputs if isinstance(inputs, Tensor) else list(inputs)
    check_tensors(output, inputs)
    wanted = set(inputs)
    arriving = {output: first_gradient(output, upstream)}
    for tensor in reversed(topological_order(output)):
        take = arriving.get if tensor in wanted else arriving.pop
        upstream = take(tensor)
        for source, pull in tensor.edges:
            gradient, data = pull(upstream), source.array
            if gradient.shape != data.shape or gradient.dtype != data.dtype:
                gradient = fit(gradient, data)
            if source in arriving:  # not +=: others may hold that array
                gradient = arriving[source] + gradient
            arriving[source] = gradient
    return [
        arriving[x].copy() if x in arriving else np.zeros_like(x.array)
        for x in inputs
    ]
