"""By what an adapter knows the model again that it was trained beside.

sample = of the adapted weights, some numbers, in the file's own notes; they
         are nearly the same in few bits too
apart  = how far two samples are from each other, a share of their length
"""

import json
import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from llmnotes import foreign
from llmnotes.adaptation.lora.attach import bare
from llmnotes.adaptation.lora.layers import is_transposed
from llmnotes.weights import plain_name

BASE = "llmnotes.base"  # where the sample lies
FEW = 8  # numbers of a weight
APART = 0.7  # between NF4 (0.1) and another base (1.4)
LEAST = 1e-30  # a base of zeros has no length


def plain(path: str) -> str:
    """A layer's path without what torch.compile writes into it."""
    return plain_name(f"{path}.").removesuffix(".")


def sample(layers: dict[str, nn.Module]) -> list[float]:
    """A few numbers of each frozen weight, layer after layer by name."""
    found = []
    for path in sorted(layers, key=plain):
        layer = layers[path]
        base, weight = bare(layer), getattr(layer, "original", None)
        weight = base.weight if weight is None else weight
        weight = weight.T if is_transposed(base) else weight
        flat = weight.detach().flatten().float().cpu()
        found += flat[:: math.ceil(len(flat) / FEW)].tolist()
    return [float(f"{number:.3g}") for number in found]


def noted(path: Path) -> str | None:
    """The sample of the base that a file notes, if it does."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get(BASE)
    except (OSError, SafetensorError) as error:
        raise foreign.unreadable(path, error) from None


def check_base(path: Path, layers: dict, noted: str | None) -> None:
    """Raise `ValueError` if the adapter remembers another base.

    The same base in other bits has nearly the same numbers.
    """
    if noted is None:
        return
    found = torch.tensor(sample(layers))
    try:
        known = torch.tensor(json.loads(noted), dtype=torch.float32)
        known = known.view(found.shape)
    except (ValueError, TypeError, RuntimeError, ArithmeticError):
        raise ValueError(
            f"{path}: got {noted[:20]!r} in its notes, expected "
            f"{len(found)} numbers of the base"
        ) from None
    length = known.norm().clamp(min=LEAST)
    apart = ((found - known).norm() / length).item()
    if not (torch.equal(found, known) or apart < APART):
        raise ValueError(
            f"{path}: got an adapter of another base: its weights differ by "
            f"{apart:.0%} from those that it was trained beside, expected "
            f"less than {APART:.0%}"
        )
