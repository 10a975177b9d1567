"""What a recurrence refuses that no annotation says: what fits its weights.

model   = a Recurrent: it knows its sizes, directions and states
states  = tensors that are handed on: 1, or 2 for the LSTM
gates   = hidden-sized parts that the rows of a weight stack
"""

from torch import Tensor, nn


def check_input(model: nn.Module, x: Tensor) -> None:
    """Raise `ValueError` unless the model's weights can read x."""
    weight = model.weight_ih_l0
    check_width(x, model.input_size)
    if x.dtype != weight.dtype or x.device != weight.device:
        raise ValueError(
            f"x: got {x.dtype} on {x.device}, expected the weights' "
            f"{weight.dtype} on {weight.device}"
        )


def check_width(x: Tensor, input_size: int) -> None:
    """Raise `ValueError` unless x has `input_size` numbers at each step."""
    if x.shape[-1] != input_size:
        raise ValueError(
            f"x: got input {x.shape[-1]}, expected input_size = {input_size}"
        )


def check_state(model: nn.Module, x: Tensor, state) -> None:
    """Raise `ValueError` unless `state` can begin a batch like x."""
    one = model.states == 1
    given = [state] if one else state
    wanted = "a tensor" if one else "a pair of tensors"
    if not one and not isinstance(state, tuple | list):
        got = type(state).__name__
        raise ValueError(f"state: got {got}, expected {wanted}")
    if not all(isinstance(s, Tensor) for s in given):
        got = " and ".join(type(s).__name__ for s in given)
        raise ValueError(f"state: got {got}, expected {wanted}")
    rows = model.num_layers * model.directions
    shapes = [tuple(s.shape) for s in given]
    expected = [(rows, x.shape[0], model.hidden_size)] * model.states
    if shapes != expected:
        raise ValueError(f"state: got shapes {shapes}, expected {expected}")
    for s in given:
        if s.dtype != x.dtype or s.device != x.device:
            raise ValueError(
                f"state: got {s.dtype} on {s.device}, expected x's "
                f"{x.dtype} on {x.device}"
            )


def check_gates(count: int, h: Tensor, weight_ih: Tensor) -> None:
    """Raise `ValueError` unless the weights stack `count` parts like h."""
    rows, expected = weight_ih.shape[0], count * h.shape[1]
    if rows != expected:
        raise ValueError(
            f"weight_ih: got {rows} rows, expected {count} times h's hidden, "
            f"{expected}"
        )
