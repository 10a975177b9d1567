"""What a recurrence refuses, by name: inputs, states, lengths and weights.

model   = a Recurrent: it knows its sizes, directions and states
states  = tensors that are handed on: 1, or 2 for the LSTM
gates   = hidden-sized parts that the rows of a weight stack
"""

import functools

import torch
from torch import Tensor, nn


def checked(forward):
    """Make `forward(self, x, state, lengths)` refuse what does not fit.

    Raises `ValueError` naming the argument, what came and what was expected.
    """

    @functools.wraps(forward)
    def wrapper(self, x, state=None, lengths=None):
        check_input(self, x)
        if state is not None:
            check_state(self, x, state)
        if lengths is not None:
            check_lengths(x, lengths)
        return forward(self, x, state, lengths)

    return wrapper


def check_input(model: nn.Module, x: Tensor) -> None:
    """Raise `ValueError` unless x is a batch of sequences for the model."""
    weight = model.weight_ih_l0
    if x.ndim != 3 or 0 in x.shape or x.shape[-1] != model.input_size:
        raise ValueError(
            f"x: got shape {tuple(x.shape)}, expected (batch, length, "
            f"{model.input_size}), no axis empty"
        )
    if x.dtype != weight.dtype or x.device != weight.device:
        raise ValueError(
            f"x: got {x.dtype} on {x.device}, expected the weights' "
            f"{weight.dtype} on {weight.device}"
        )


def check_state(model: nn.Module, x: Tensor, state) -> None:
    """Raise `ValueError` unless `state` can begin a batch like x."""
    given = (state,) if isinstance(state, Tensor) else tuple(state)
    if isinstance(state, Tensor) != (model.states == 1):
        raise ValueError(
            f"state: got {type(state).__name__}, expected "
            f"{'a tensor' if model.states == 1 else 'a pair of tensors'}"
        )
    rows = model.num_layers * model.directions
    shapes = [tuple(s.shape) for s in given]
    expected = [(rows, x.shape[0], model.hidden_size)] * model.states
    if shapes != expected:
        raise ValueError(f"state: got shapes {shapes}, expected {expected}")
    if any(s.dtype != x.dtype or s.device != x.device for s in given):
        raise ValueError(
            f"state: got {given[0].dtype} on {given[0].device}, expected "
            f"x's {x.dtype} on {x.device}"
        )


def check_lengths(x: Tensor, lengths: Tensor) -> None:
    """Raise `ValueError` unless lengths has 1..length for each sequence."""
    if lengths.dtype != torch.int64 or lengths.shape != x.shape[:1]:
        raise ValueError(
            f"lengths: got {lengths.dtype} of shape {tuple(lengths.shape)}, "
            f"expected torch.int64 of shape ({x.shape[0]},)"
        )
    least, most = lengths.min().item(), lengths.max().item()
    if least < 1 or most > x.shape[1]:
        raise ValueError(
            f"lengths: got {least} to {most}, expected 1 to x's {x.shape[1]}"
        )


def check_sizes(input_size: int, hidden_size: int, num_layers: int) -> None:
    """Raise `ValueError` unless all three are at least 1."""
    for name, got in (
        ("input_size", input_size),
        ("hidden_size", hidden_size),
        ("num_layers", num_layers),
    ):
        if got < 1:
            raise ValueError(f"{name}: got {got}, expected at least 1")


def checked_cell(gates: int):
    """Make `cell(x, h, weight_ih, ...)` refuse what does not fit, by name.

    Raises `ValueError` naming the argument, what came and what was expected.
    """

    def decorate(cell):
        @functools.wraps(cell)
        def wrapper(x, h, *parameters):
            check_cell(gates, x, h, *parameters)
            return cell(x, h, *parameters)

        return wrapper

    return decorate


def check_cell(gates: int, x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    """Raise `ValueError` unless one step can be taken from x and h."""
    for name, got in (("x", x), ("h", h)):
        if got.ndim != 2 or len(got) != len(x):
            raise ValueError(
                f"{name}: got shape {tuple(got.shape)}, expected "
                f"({len(x)}, {'input' if name == 'x' else 'hidden'})"
            )
    rows = gates * h.shape[1]
    for name, got, expected in (
        ("weight_ih", weight_ih, (rows, x.shape[1])),
        ("weight_hh", weight_hh, (rows, h.shape[1])),
        ("bias_ih", bias_ih, (rows,)),
        ("bias_hh", bias_hh, (rows,)),
    ):
        if tuple(got.shape) != expected:
            raise ValueError(
                f"{name}: got shape {tuple(got.shape)}, expected {expected}"
            )
