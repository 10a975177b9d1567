"""An optimizer's state under the names of the weights it belongs to.

PyTorch numbers the weights that an optimizer moves. Freeze one more, and the
numbers after it mean other weights, whose shapes may well be the same.

    weights = the names of all that the optimizer moves, in its order
    state   = {weight: {moment: its shape, or its value if it is no tensor}}
    options = those of each group that decide what a step computes
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from llmnotes.weights import plain_name

PLAIN = bool, int, float, str, type(None)
# Where a weight lies, how quickly it is moved, and how fast that is computed.
OTHER = {
    "params", "lr", "initial_lr", "foreach", "fused", "capturable",
    "differentiable",
}  # fmt: skip


def collect(
    model: nn.Module, optimizer: Any
) -> tuple[dict[str, Tensor], dict]:
    """All tensors of the state, and the rest of it as JSON holds it.

    Raises `ValueError` for weights that the model lacks and for a state
    that is more than tensors and plain values.
    """
    names, groups = moved(model, optimizer), optimizer.param_groups
    facts = {
        "class": type(optimizer).__name__,
        "weights": list(names.values()),
        "options": [options(group) for group in groups],
        "state": {},
    }
    tensors = {}
    for number, moments in optimizer.state_dict()["state"].items():
        name = names.get(number)
        for moment, value in entries(optimizer, name or number, moments):
            if isinstance(value, Tensor) and name:
                tensors[key(name, moment)] = value
                what = {"shape": list(value.shape)}
            elif isinstance(value, PLAIN) and name:
                what = {"value": value}
            else:
                raise strange(optimizer, name or number, moment, value)
            facts["state"].setdefault(name, {})[moment] = what
    return tensors, facts


def moved(model: nn.Module, optimizer: Any) -> dict[int, str]:
    """Number -> name of all weights that the optimizer moves."""
    if not hasattr(optimizer, "state_dict"):
        raise ValueError(
            f"optimizer: got {type(optimizer).__name__}, which has no "
            "state_dict, expected one that does"
        )
    known = {p: plain_name(name) for name, p in model.named_parameters()}
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    for p in weights:
        if p not in known:
            raise ValueError(
                f"optimizer: got a weight of shape {tuple(p.shape)} that is "
                "none of the model's, expected the model's only: it would "
                "not be saved"
            )
    return {number: known[p] for number, p in enumerate(weights)}


def key(weight: str, moment: str) -> str:
    """The name of a tensor in the file."""
    return f"optimizer.{weight}.{moment}"


def entries(optimizer, name, moments) -> Iterator[tuple[str, Any]]:
    """What the state holds of one weight."""
    if not isinstance(moments, Mapping):
        raise strange(optimizer, name, "", moments)
    yield from moments.items()


def strange(optimizer, name, moment, value) -> ValueError:
    """The error for a state that cannot be saved."""
    return ValueError(
        f"optimizer: got {type(optimizer).__name__}, whose state of {name!r} "
        f"holds a {type(value).__name__} as {moment!r}; expected tensors and "
        "plain values, which a checkpoint can hold"
    )


def options(group: Mapping[str, Any]) -> dict[str, Any]:
    """What a group is moved by, as JSON holds it."""
    chosen = {k: v for k, v in group.items() if k not in OTHER}
    return json.loads(json.dumps(chosen, default=repr))


def read(tensors: Mapping[str, Tensor], facts: Mapping) -> dict[str, dict]:
    """The state by name, out of a file's tensors and the rest of it.

    Raises `KeyError`, `TypeError` or `ValueError` where the two disagree.
    """
    state, left = {}, {k for k in tensors if k.startswith("optimizer.")}
    for weight, moments in facts["state"].items():
        found = state[weight] = {}
        for moment, what in moments.items():
            if "value" in what:
                found[moment] = what["value"]
                continue
            name = key(weight, moment)
            found[moment] = tensors[name]
            left.discard(name)
            if list(tensors[name].shape) != what["shape"]:
                raise ValueError(f"{name} has another shape")
    if left:
        raise ValueError(f"{min(left)} belongs to nothing")
    return state


def check(
    model: nn.Module,
    optimizer: Any,
    state: Mapping[str, Mapping],
    facts: Mapping,
    home: object,
) -> None:
    """Raise `ValueError` unless the state is that of this optimizer."""
    now, was = type(optimizer).__name__, facts["class"]
    if now != was:
        raise ValueError(
            f"optimizer: got {now}, expected {was}, whose state {home} holds"
        )
    check_weights(model, optimizer, state, facts["weights"], home)
    groups = map(options, optimizer.param_groups)
    for now, was in zip(groups, facts["options"], strict=False):
        for name in sorted(now.keys() & was.keys()):
            if now[name] != was[name]:
                raise ValueError(
                    f"optimizer: {name}: got {now[name]}, expected "
                    f"{was[name]}, with which {home} was written"
                )


def check_weights(model, optimizer, state, was: list[str], home) -> None:
    """Raise `ValueError` unless the optimizer moves the same weights.

    Their order may be another, except where a moment is one of several
    weights stacked.
    """
    now = list(moved(model, optimizer).values())
    only = {
        f"in {home}": sorted(set(was) - set(now)),
        "here": sorted(set(now) - set(was)),
    }
    told = [f"{', '.join(n)} only {at}" for at, n in only.items() if n]
    if told:
        raise ValueError(
            f"optimizer: got other weights to move: {'; '.join(told)}; "
            "expected the same ones frozen and the same ones trained"
        )
    shapes = {plain_name(n): p.shape for n, p in model.named_parameters()}
    stacked = any(
        isinstance(x, Tensor) and x.ndim and x.ndim > len(shapes[weight])
        for weight, moments in state.items()
        for x in moments.values()
    )
    if stacked and now != was:
        raise ValueError(
            f"optimizer: got weights in another order than in {home}, "
            f"expected {', '.join(was)}"
        )


def put(
    model: nn.Module,
    optimizer: Any,
    state: Mapping[str, Mapping],
) -> None:
    """Give an optimizer its state back, each to the weight it belongs to."""
    names = moved(model, optimizer)
    numbered = {n: state[name] for n, name in names.items() if name in state}
    known = optimizer.state_dict()
    optimizer.load_state_dict({**known, "state": numbered})
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    for number, moments in numbered.items():
        now = optimizer.state[weights[number]]
        for moment, x in moments.items():
            # PyTorch gives a moment its weight's type: bits would be lost.
            # And it takes a word for a row of letters.
            if not isinstance(x, Tensor):
                now[moment] = x
            elif now[moment].dtype != x.dtype:
                now[moment] = x.to(weights[number].device)
