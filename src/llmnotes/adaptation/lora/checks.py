"""What an adapter refuses: each names what came and what was expected."""

import sys
from collections.abc import Iterable, Sequence
from numbers import Real

from torch import nn

from llmnotes.adaptation.lora.layers import is_plain, stored
from llmnotes.checks import check_sizes


def check_rank(rank: int, inputs: int, outputs: int) -> None:
    """Raise `ValueError` for more than the layer's own rank can be."""
    check_sizes(rank=rank)
    if rank > min(inputs, outputs):
        raise ValueError(
            f"rank: got {rank}, expected at most {min(inputs, outputs)}, "
            f"the rank of a layer from {inputs} to {outputs}"
        )


def check_alpha(alpha: float) -> None:
    """Raise `ValueError` for what cannot be a float above 0."""
    number = isinstance(alpha, Real) and not isinstance(alpha, bool)
    if not number or not 0 < alpha <= sys.float_info.max:
        raise ValueError(f"alpha: got {alpha!r}, expected a number above 0")


def check_names(names: Sequence[str], known: Iterable[str]) -> None:
    """Raise `ValueError` for adapters that are not there, or there twice."""
    known = list(known)
    for i, name in enumerate(names):
        if name not in known:
            raise ValueError(
                f"name: got {name!r}, expected one of {', '.join(known)}"
            )
        if name in names[:i]:
            raise ValueError(f"name: got {name!r} twice, expected it once")


def check_plain(name: str, layer: nn.Module) -> None:
    """Raise `ValueError` for a layer that holds codes instead of a matrix."""
    if not is_plain(layer):
        weight = layer.weight
        raise ValueError(
            f"{name}: got {type(layer).__name__}, whose weight is "
            f"{weight.dtype} of shape {tuple(weight.shape)}, expected "
            f"floats of shape {stored(layer)}"
        )


def check_kept(layer: nn.Module) -> None:
    """Raise `ValueError` for a base whose weight cannot be added to."""
    if not isinstance(layer.weight, nn.Parameter):
        raise ValueError(
            f"base: got {type(layer).__name__}, whose weight is made when it "
            "is asked for, expected one that can be added to"
        )
    check_plain("base", layer)
