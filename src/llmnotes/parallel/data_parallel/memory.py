"""What a rank holds: bytes of storages, counted while they live.

    storage = the memory under a tensor; views share one, which counts once
    peak    = the most that lived at one time

Only what is made inside `with` counts: what was there before, and memory of
libraries that is no tensor's, does not.
"""

import weakref

from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Living(TorchDispatchMode):
    """Counts the bytes of storages that operations make, while they live."""

    def __init__(self):
        super().__init__()
        self.alive: dict[int, int] = {}
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        before = {key(x) for x in tensors((args, kwargs))}
        out = function(*args, **(kwargs or {}))
        for x in tensors(out):
            if key(x) not in before:
                self.add(x.untyped_storage())
        return out

    def add(self, storage: UntypedStorage) -> None:
        """Count a storage, until it is freed."""
        name = storage._cdata
        if name in self.alive:
            return
        self.alive[name] = storage.nbytes()
        self.bytes += storage.nbytes()
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self.free, name)

    def free(self, name: int) -> None:
        """A storage is gone."""
        self.bytes -= self.alive.pop(name)


def tensors(tree) -> list[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor)]


def key(x: Tensor) -> int:
    """What names a storage while it lives."""
    return x.untyped_storage()._cdata


def held(tree) -> int:
    """Bytes under tensors that are there, each storage once."""
    found = {key(x): x.untyped_storage().nbytes() for x in tensors(tree)}
    return sum(found.values())
