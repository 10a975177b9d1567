"""What a function refuses, read from its annotations and named.

    @checked
    def attention(
        query: Float[Tensor, "... query head_dim"],
        key: Float[Tensor, "... key head_dim"],

says that two axes called head_dim are equally long, and so a call that
breaks it raises `ValueError: key: got head_dim 5, expected query's 4`. The
annotations alone are enforced under pytest only, with an error that does not
name the argument. A check costs some microseconds: it belongs to functions
that readers call, not into inner loops. What no annotation can say (ranges,
divisors) stays in the function; helpers word it alike.
"""

import functools
import inspect
import re
from numbers import Integral
from types import UnionType
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from llmnotes.precision import autocasts

ABSENT = object()  # an argument that was left out
DTYPES = {
    "Float": "a float dtype",
    "Int": "an integer dtype",
    "Real": "a dtype of numbers",
    "Bool": "bool",
}
WORD = re.compile(r"\.\.\.|[#*]?[a-z]\w*|\d+")


class Expected(NamedTuple):
    """What the annotation of one argument says."""

    name: str
    place: int  # among the arguments
    optional: bool  # may be None
    kind: str  # Float, Int, Bool or a dtype class of one's own
    dtypes: frozenset[torch.dtype]
    axes: tuple[str, ...]  # as written, without the one for many axes
    many: str  # that one: "..." or "*name"; else ""
    front: int  # how many axes stand before it
    shape: str  # as written, for messages


def checked(function):
    """Make a function or method refuse tensors that do not fit, by name.

    Refused are: no tensor, a dtype of another kind, two float dtypes or two
    devices in one call, a wrong number of axes, an empty axis, and axes of
    one name but different length. `#axis` may be 1 instead, `...` stands
    for any axes, `*name` for the same ones each time.
    """
    parameters = inspect.signature(function).parameters.values()
    found = [read(place, p) for place, p in enumerate(parameters)]
    arguments = [expected for expected in found if expected]
    if not arguments:  # also where annotations are strings
        raise TypeError(f"{function.__name__}: no argument has a shape")

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        known = {}
        for expected in arguments:
            if expected.place < len(args):
                x = args[expected.place]
            else:
                x = kwargs.get(expected.name, ABSENT)
            if x is not ABSENT and not (x is None and expected.optional):
                check(x, expected, known)
        return function(*args, **kwargs)

    return wrapper


def read(place: int, parameter: inspect.Parameter) -> Expected | None:
    """Parse an annotation; None if it is not that of one tensor."""
    hint = parameter.annotation
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if not hasattr(options[0], "dim_str"):
        return None
    words = options[0].dim_str.split()
    for word in words:
        if not WORD.fullmatch(word):
            raise TypeError(f"{parameter.name}: cannot check axis {word!r}")
    many = [i for i, word in enumerate(words) if word[0] in ".*"]
    names = (getattr(torch, name, None) for name in options[0].dtypes)
    return Expected(
        parameter.name,
        place,
        optional=type(None) in options,
        kind=options[0].dtype.__name__,
        dtypes=frozenset(names) - {None},
        axes=tuple(word for word in words if word[0] not in ".*"),
        many=words[many[0]] if many else "",
        front=many[0] if many else len(words),
        shape=f"({', '.join(words)}{',' if len(words) == 1 else ''})",
    )


def check(x, expected: Expected, known: dict) -> None:
    """Raise `ValueError` unless x is as expected and fits what is known."""
    name = expected.name
    if not isinstance(x, Tensor):
        raise ValueError(f"{name}: got {type(x).__name__}, expected a tensor")
    if x.dtype not in expected.dtypes:
        wanted = DTYPES.get(expected.kind, expected.kind)
        raise ValueError(f"{name}: got {x.dtype}, expected {wanted}")
    if expected.kind == "Float":
        cast = autocasts(x)  # then it will be of that type
        dtype = torch.get_autocast_dtype(x.device.type) if cast else x.dtype
        agree(name, "dtype", dtype, known)
    agree(name, "device", x.device, known)
    check_shape(tuple(x.shape), expected, known)


def check_shape(shape: tuple, expected: Expected, known: dict) -> None:
    """Raise `ValueError` unless the axes are those that are expected."""
    name, axes, front = expected.name, expected.axes, expected.front
    back = len(shape) - len(axes) + front  # where the last axes begin
    if back < front or (back > front and not expected.many):
        raise misfit(shape, expected)
    if 0 in shape:
        raise ValueError(f"{name}: got shape {shape}, expected no empty axis")
    sizes = shape[:front] + shape[back:]
    for axis, size in zip(axes, sizes, strict=True):
        if axis.isdigit():
            if size != int(axis):
                raise misfit(shape, expected)
        elif axis[0] != "#" or size > 1:
            agree(name, axis.lstrip("#"), size, known)
    if expected.many[:1] == "*":
        agree(name, expected.many[1:], shape[front:back], known)


def misfit(shape: tuple, expected: Expected) -> ValueError:
    """Return the error that shows a shape and what it should have been."""
    return ValueError(
        f"{expected.name}: got shape {shape}, expected {expected.shape}"
    )


def agree(name: str, what: str, got, known: dict) -> None:
    """Remember what was got first; raise `ValueError` for anything else."""
    value, owner = known.setdefault(what, (got, name))
    if got != value:
        owner += "'" if owner.endswith("s") else "'s"
        raise ValueError(f"{name}: got {what} {got}, expected {owner} {value}")


def check_sizes(least: int = 1, **sizes: object) -> None:
    """Raise `ValueError` unless all are whole numbers, `least` or more."""
    for name, got in sizes.items():
        if isinstance(got, bool) or not isinstance(got, Integral):
            raise ValueError(f"{name}: got {got}, expected an integer")
        if got < least:
            raise ValueError(f"{name}: got {got}, expected at least {least}")


def check_within(low: int, high: int, **tensors: Tensor) -> None:
    """Raise `ValueError` unless all entries lie between low and high.

    Entries that nobody can look at are not asked: see `seen`.
    """
    for name, x in tensors.items():
        if not x.numel() or not seen(x):
            continue
        least, most = x.min().item(), x.max().item()
        if not (least >= low and most <= high):  # nan is nowhere
            raise ValueError(
                f"{name}: got {least} to {most}, expected {low} to {high}"
            )


def seen(x: Tensor) -> bool:
    """Whether the entries of x can be looked at.

    Not on the meta device, while torch.compile traces, or under torch.func.
    """
    return not (
        x.is_meta
        or torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
    )


def check_divides(whole: str, size: int, **parts: int) -> None:
    """Raise `ValueError` unless all parts divide what is called `whole`."""
    for name, got in parts.items():
        if got < 1 or size % got:
            raise ValueError(
                f"{name}: got {got}, expected a divisor of {whole} = {size}"
            )


def check_length(limit: str, size: int, **tensors: Tensor) -> None:
    """Raise `ValueError` unless all last axes fit what is called `limit`."""
    for name, x in tensors.items():
        if x.shape[-1] > size:
            raise ValueError(
                f"{name}: got length {x.shape[-1]}, expected at most "
                f"{limit} = {size}"
            )
