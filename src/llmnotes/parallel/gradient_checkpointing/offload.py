"""Activations that wait elsewhere: on a disk, or in another memory.

    saved  = a tensor that autograd keeps for backward
    place  = where its bytes wait: `write` puts them there, `read` fetches
    bytes  = what was written; each storage once, parameters never

Nothing is computed again; every byte travels twice instead. That pays where
the road is quicker than the arithmetic.

Sources
- Rhu et al. 2016, "vDNN: Virtualized Deep Neural Networks for Scalable,
  Memory-Efficient Neural Network Design", arXiv 1602.08124, §3.
"""

import tempfile
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from llmnotes.parallel.data_parallel.memory import key


class Box:
    """A storage that went away: what `write` said of it."""

    def __init__(self, where: Any):
        self.where = where
        self.here: Callable = lambda: None  # the storage, while it is back


class Ticket(NamedTuple):
    """How to find a tensor again."""

    box: Box
    dtype: torch.dtype
    device: torch.device
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


class Offload(torch.autograd.graph.saved_tensors_hooks):
    """Sends what is saved inside `with` to a place; a subclass says which.

    `parameters` stay where they are. Views of one storage travel as one.
    """

    def __init__(self, parameters: Iterable[Tensor]):
        super().__init__(self.pack, self.unpack)
        self.ours = {key(p) for p in parameters}
        self.boxes: dict[tuple[int, int], Box] = {}
        self.bytes = 0

    def __enter__(self) -> "Offload":
        super().__enter__()
        return self

    def write(self, whole: Tensor) -> Any:
        """Put the bytes of a storage away; returns what `read` needs."""
        raise NotImplementedError

    def read(self, where: Any) -> Tensor:
        """Fetch bytes, on whatever device."""
        raise NotImplementedError

    def pack(self, x: Tensor) -> Tensor | Ticket:
        """Instead of a tensor, keep a ticket."""
        if key(x) in self.ours:
            return x
        look = tuple(x.shape), x.stride(), x.storage_offset()
        return Ticket(self.box(x), x.dtype, x.device, *look)

    def box(self, x: Tensor) -> Box:
        """Where a storage waits; a second view of it finds the same.

        Not if it was written to in between: then its version is another.
        """
        storage = x.untyped_storage()
        name = storage._cdata, x._version
        if name not in self.boxes:
            numbers = storage.nbytes() // x.element_size()
            whole = x.detach().as_strided((numbers,), (1,), 0)
            self.boxes[name] = Box(self.write(whole.view(torch.uint8)))
            self.bytes += storage.nbytes()
            weakref.finalize(storage, self.boxes.pop, name, None)
        return self.boxes[name]

    def unpack(self, x: Tensor | Ticket) -> Tensor:
        """Fetch a tensor, unless its storage is back already."""
        if isinstance(x, Tensor):
            return x
        storage = x.box.here()
        if storage is None:
            whole = self.read(x.box.where).to(x.device)
            storage = whole.untyped_storage()
            x.box.here = weakref.ref(storage)
        empty = torch.empty(0, dtype=x.dtype, device=x.device)
        return empty.set_(storage, x.offset, x.size, x.stride)


class ToDisk(Offload):
    """A file for each storage, in a folder that goes with this object."""

    def __init__(self, parameters: Iterable[Tensor]):
        super().__init__(parameters)
        self.folder = tempfile.TemporaryDirectory()
        self.files = Path(self.folder.name)

    def write(self, whole: Tensor) -> Path:
        """Write one file."""
        path = self.files / f"{len(list(self.files.iterdir()))}"
        whole.cpu().numpy().tofile(path)
        return path

    def read(self, where: Path) -> Tensor:
        """Read it."""
        found = bytearray(where.read_bytes())
        if not found:  # frombuffer refuses nothing at all
            return torch.empty(0, dtype=torch.uint8)
        return torch.frombuffer(found, dtype=torch.uint8)


class ToMemory(Offload):
    """Another memory: for a GPU's activations, that of the CPU.

    A CPU's single number, such as 0.5 in `x * torch.tensor(0.5)`, stays.
    Raises `ValueError` for another tensor that lies there already.
    """

    def __init__(
        self, parameters: Iterable[Tensor], device: str | torch.device = "cpu"
    ):
        super().__init__(parameters)
        self.device = torch.device(device)

    def pack(self, x: Tensor) -> Tensor | Ticket:
        """Instead of a tensor, keep a ticket."""
        return x if not x.dim() and x.is_cpu else super().pack(x)

    def write(self, whole: Tensor) -> Tensor:
        """Copy it there."""
        if whole.device.type == self.device.type:
            raise ValueError(
                f"device: got {self.device}, where a saved tensor lies "
                "already; expected another memory (or use ToDisk)"
            )
        return whole.to(self.device)

    def read(self, where: Tensor) -> Tensor:
        """What is there."""
        return where
