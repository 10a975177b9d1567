"""Conditions of any form: to stack two of them, and to drop some rows.

condition = a tensor with one row for each picture, or tuples, lists and
            dicts of such tensors: classes, tokens and their mask, …
nothing   = a condition of the same form that says nothing
share     = how often a row is replaced by nothing; p_uncond in the paper

Sources
- Ho & Salimans 2022, "Classifier-Free Diffusion Guidance", arXiv
  2207.12598, algorithm 1 (dropping).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def together(function: Callable, first: Any, *rest: Any) -> Any:
    """A function of tensors, on conditions that are made of tensors.

    Raises `ValueError` for a form that is none of the known ones, or where
    the forms differ.
    """
    if isinstance(first, Tensor):
        check_tensors(rest)
        return function(first, *rest)
    check_forms(first, rest)
    if isinstance(first, dict):
        return {
            name: together(function, *(c[name] for c in (first, *rest)))
            for name in first
        }
    parts = zip(first, *rest, strict=True)
    return type(first)([together(function, *part) for part in parts])


def stacked(first: Any, second: Any) -> Any:
    """Two conditions as one, of twice as many rows."""
    return together(_stack, first, second)


def _stack(first: Tensor, second: Tensor) -> Tensor:
    check_alike(first, second)
    return torch.cat([first, second])


def repeated(one: Any, like: Any) -> Any:
    """A condition for each row of another: its only row, or its own."""
    return together(_repeat, one, like)


def _repeat(one: Tensor, like: Tensor) -> Tensor:
    one = one.to(like.device)
    return one.expand(len(like), *one.shape[1:]) if len(one) == 1 else one


def dropped(
    condition: Any, nothing: Any, share: float, *, generator: torch.Generator
) -> Any:
    """A condition, some rows of which say nothing.

    A row is dropped as a whole, all its parts together: parts that are each
    dropped with a chance of p are all dropped with p² or less, and only then
    there is nothing to see.

    Raises `ValueError` for a share that is no probability.

    Source: Ho & Salimans 2022, algorithm 1.
    """
    check_share(share)
    rows = len(_leaf(condition))
    drawn = torch.rand(rows, generator=generator, device=generator.device)

    def mixed(kept, lost):
        gone = (drawn < share).to(kept.device)
        return torch.where(gone.view(-1, *[1] * (kept.ndim - 1)), lost, kept)

    return together(mixed, condition, nothing)


def _leaf(condition: Any) -> Tensor:
    """Any tensor of a condition."""
    found = []
    together(found.append, condition)
    return found[0]


def check_tensors(rest: tuple) -> None:
    """Raise `ValueError` unless all are tensors."""
    for other in rest:
        if not isinstance(other, Tensor):
            raise ValueError(
                f"condition: got {type(other).__name__} where another has a "
                "tensor, expected the same form"
            )


def check_forms(first: Any, rest: tuple) -> None:
    """Raise `ValueError` unless all are collections of one form."""
    if not isinstance(first, dict | tuple | list) or not first:
        raise ValueError(
            f"condition: got {first if not first else type(first).__name__}, "
            "expected a tensor, or a tuple, list or dict of tensors"
        )
    for other in rest:
        same = type(other) is type(first) and len(other) == len(first)
        if (
            not same
            or isinstance(first, dict)
            and other.keys() != first.keys()
        ):
            raise ValueError(
                f"condition: got {type(first).__name__} of {len(first)} and "
                f"{type(other).__name__}, expected the same form"
            )


def check_alike(first: Tensor, second: Tensor) -> None:
    """Raise `ValueError` unless rows can be stacked."""
    if first.shape[1:] != second.shape[1:] or first.dtype != second.dtype:
        raise ValueError(
            f"condition: got {first.dtype} of shape {tuple(first.shape)} and "
            f"{second.dtype} of shape {tuple(second.shape)}, expected rows of "
            "one type and size; texts are padded to one length"
        )


def check_share(share: float) -> None:
    """Raise `ValueError` unless it is a probability."""
    if not 0 <= share <= 1:
        raise ValueError(f"share: got {share}, expected 0 to 1")
