r"""`checkpoint`: forget what a region made, and make it again when needed.

    region   = any function of tensors, most often a layer
    read     = what it takes from outside without being given it: parameters
    again    = the same call, made in backward
    before   = how random numbers, autocast and buffers stood at the first call

The forward pass runs without a graph, so nothing inside is kept; the inputs
are. Backward runs the region again, this time with a graph, and asks that
graph for the gradients. Parameters are inputs of the outer graph as well, so
they get theirs even when no argument requires any, and get it once.

Sources
- Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv
  1604.06174, §3 and algorithm 1.
- Griewank & Walther 2000, "Algorithm 799: revolve", ACM Trans. Math. Softw.
  26(1): the same for programs that step through time.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from llmnotes.parallel.gradient_checkpointing.outside import (
    Outside,
    Writes,
    buffers_of,
)
from llmnotes.parallel.gradient_checkpointing.state import State


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return function(*args, **kwargs), and keep its inputs only.

    Tensors may lie in lists, tuples and dicts, in what goes in as in what
    comes out. Gradients are the same to the bit, dropout included: random
    numbers are kept on the CPU and on the GPUs that hold an argument, and
    afterwards stand where they would without recompute. Buffers of a module
    (running means) change once.

    Raises `ValueError` where the region writes into a tensor that comes from
    outside and is no buffer of its module (in backward, if only the second
    run does), and in backward `RuntimeError` where the second run gave other
    shapes than the first, and for a gradient of the gradient.

    Source: Chen et al. 2016.
    """
    return begin(Again, function, args, kwargs)


def checkpoint_compared(
    function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """`checkpoint` that looks for regions which do not repeat themselves.

    It keeps a fingerprint of the outputs and raises `RuntimeError` in
    backward where the second run gave other numbers. That costs time, so it
    is for a few steps, not for a training.
    """
    return begin(Compared, function, args, kwargs)


def begin(kind: type["Again"], function, args: tuple, kwargs: dict) -> Any:
    """Run the region for the first time, without a graph."""
    if not torch.is_grad_enabled():
        return function(*args, **kwargs)
    leaves, spec = tree_flatten((args, kwargs))
    again = kind(function, leaves, spec)
    outside = Outside(buffers_of(function))
    given = again.tensors(leaves)
    inside = [x.detach() for x in given]  # before the watch begins
    with torch.no_grad(), again.state.autocast(), outside:
        out = again.call(inside)
    read = list(outside.found.values())
    again.state.before, again.inputs = outside.before, len(given)
    flat, out_spec = tree_flatten(out)
    made = again.note(flat)
    found = iter(Region.apply(again, made, *given, *read))
    flat = [next(found) if isinstance(x, Tensor) else x for x in flat]
    return tree_unflatten(flat, out_spec)


class Again:
    """A call that can be made again: function, what is no tensor, state."""

    def __init__(self, function: Callable, leaves: Sequence[Any], spec: Any):
        self.function, self.spec = function, spec
        self.places = [isinstance(x, Tensor) for x in leaves]
        self.rest = [None if isinstance(x, Tensor) else x for x in leaves]
        self.state = State(self.tensors(leaves))
        self.inputs = 0  # how many tensors are arguments; the rest is read

    def tensors(self, leaves: Sequence[Any]) -> list[Tensor]:
        """Those of the arguments that are tensors, in order."""
        return [x for x in leaves if isinstance(x, Tensor)]

    def call(self, tensors: Sequence[Tensor]) -> Any:
        """Call the function with these tensors as its arguments."""
        given = iter(tensors)
        leaves = [
            next(given) if place else x
            for place, x in zip(self.places, self.rest, strict=True)
        ]
        args, kwargs = tree_unflatten(leaves, self.spec)
        return self.function(*args, **kwargs)

    def note(self, flat: list[Any]) -> list[Tensor]:
        """Remember how the outputs look; returns those that are tensors."""
        made = self.tensors(flat)
        self.looks = [(tuple(x.shape), x.dtype) for x in made]
        return made

    def repeat(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Make the call again, with a graph; returns what are tensors."""
        watch = Writes(buffers_of(self.function))
        with torch.enable_grad(), self.state.autocast(), watch:
            # Views, for hooks on a module's inputs may not stand on leaves.
            views = [x.view_as(x) for x in tensors]
            made = self.tensors(tree_flatten(self.call(views))[0])
        self.check(made)
        return made

    def check(self, made: list[Tensor]) -> None:
        """Raise `RuntimeError` unless the outputs look as they did."""
        looks = [(tuple(x.shape), x.dtype) for x in made]
        if looks != self.looks:
            raise RuntimeError(
                f"function: recomputed, it returned {said(looks)}, and before "
                f"{said(self.looks)}; expected one that repeats itself"
            )


class Compared(Again):
    """Compares numbers as well, by a fingerprint of each output."""

    def note(self, flat: list[Any]) -> list[Tensor]:
        """Remember a fingerprint of each output."""
        made = super().note(flat)
        self.prints = [fingerprint(x) for x in made]
        return made

    def check(self, made: list[Tensor]) -> None:
        """Raise `RuntimeError` unless the outputs are the same numbers."""
        super().check(made)
        for i, (x, old) in enumerate(zip(made, self.prints, strict=True)):
            if fingerprint(x) != old:
                raise RuntimeError(
                    f"function: recomputed, output {i} of shape "
                    f"{tuple(x.shape)} has other numbers than before; "
                    "expected one that repeats itself (does it read a "
                    "counter, a clock, or random numbers of Python?)"
                )


class Region(torch.autograd.Function):
    """One node of the graph in the place of all that a region does."""

    @staticmethod
    def forward(ctx, again: Again, made: list[Tensor], *tensors: Tensor):
        """Hand over what was made, keep what came in."""
        ctx.again = again
        ctx.save_for_backward(*tensors)
        return tuple(x.detach() for x in made)

    @staticmethod
    def backward(ctx, *grads: Tensor):
        """Make the region again, and ask its graph for the gradients."""
        check_no_graph()
        again, saved = ctx.again, ctx.saved_tensors
        needed = ctx.needs_input_grad[2:]
        inputs = [
            x.detach().requires_grad_(x.requires_grad)
            for x in saved[: again.inputs]
        ]
        with again.state.restored():
            made = again.repeat(inputs)
            leaves = [*inputs, *saved[again.inputs :]]
            found = ask(made, grads, leaves, needed)
        return None, None, *found


def check_no_graph() -> None:
    """Raise `RuntimeError` where a gradient of the gradient is asked for."""
    if torch.is_grad_enabled():
        raise RuntimeError(
            "create_graph: got True, expected False; a region that is "
            "recomputed has no gradient of its gradient (torch's checkpoint "
            "has, with use_reentrant=False)"
        )


def ask(
    made: Sequence[Tensor],
    grads: Sequence[Tensor],
    leaves: Sequence[Tensor],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients of those leaves that need one; None for the others."""
    pairs = [(x, g) for x, g in zip(made, grads, strict=True)
             if x.requires_grad]  # fmt: skip
    wanted = [x for x, need in zip(leaves, needed, strict=True) if need]
    if not pairs or not wanted:
        return [None] * len(leaves)
    outputs, given = zip(*pairs, strict=True)
    found = iter(
        torch.autograd.grad(outputs, wanted, given, allow_unused=True)
    )
    return [next(found) if need else None for need in needed]


def fingerprint(x: Tensor) -> tuple:
    """Numbers that differ if anything in a tensor does, almost surely."""
    bits = x.detach().contiguous().flatten().view(torch.uint8).long()
    place = torch.arange(1, len(bits) + 1, device=x.device) * 2654435761
    return bits.sum().item(), (bits * (place % 2**31)).sum().item()


def said(looks: list[tuple]) -> str:
    """Shapes and dtypes in words."""
    return ", ".join(f"{shape} of {dtype}" for shape, dtype in looks) or "none"
