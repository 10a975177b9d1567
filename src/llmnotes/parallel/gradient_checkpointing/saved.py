"""What autograd keeps for backward: saved storages, counted to the byte.

    saved   = a tensor that an operation keeps until its backward
    storage = the memory under it; views share one, which counts once

Parameters are saved too, but they are there anyway: they do not count.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from llmnotes.parallel.data_parallel.memory import held, key


class Saved(torch.autograd.graph.saved_tensors_hooks):
    """Counts what is saved inside `with`, and keeps it alive meanwhile."""

    def __init__(self, parameters: Iterable[Tensor] = ()):
        super().__init__(self.pack, lambda x: x)
        self.ours = {key(p) for p in parameters}
        self.tensors: list[Tensor] = []

    def __enter__(self) -> "Saved":
        super().__enter__()
        return self

    def pack(self, x: Tensor) -> Tensor:
        """Note a tensor that is saved, and hand it on."""
        if key(x) not in self.ours:
            self.tensors.append(x)
        return x

    @property
    def bytes(self) -> int:
        """Bytes of all storages, each once."""
        return held(self.tensors)
