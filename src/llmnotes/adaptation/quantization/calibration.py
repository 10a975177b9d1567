"""What a layer reads: the rows of numbers that calibration is about.

    layers = {name: module}
    run    = shows the model some texts, in whatever way it reads them

Padding is read like anything else, so show texts that need none.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn


@torch.no_grad()
def inputs_of(
    layers: Mapping[str, nn.Module], run: Callable[[], object]
) -> dict[str, Float[Tensor, "tokens input"]]:
    """Return what each layer reads while `run` runs, a row for each token.

    Raises `ValueError` naming a layer that was not called.
    """
    read: dict[str, list[Tensor]] = {name: [] for name in layers}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, args, rows=read[name]: rows.append(
                args[0].detach().reshape(-1, args[0].shape[-1]).clone()
            )
        )
        for name, layer in layers.items()
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    for name, rows in read.items():
        if not rows:
            raise ValueError(
                f"layers: got {name!r}, expected one that is used"
            )
    return {name: torch.cat(rows) for name, rows in read.items()}
