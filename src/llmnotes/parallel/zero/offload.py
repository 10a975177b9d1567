"""Offload: a rank's states in another memory, and what crosses to it.

    near  = the memory that the model computes in, a GPU's
    far   = the other one, larger and slower: the host's
    moved = bytes that crossed, down to the far memory and up from it

Either the optimizer steps where the states are, then gradients go down and
weights come up (ZeRO-Offload); or the states come up for each step and go
down again.

`Link` makes a far memory on a machine that has only one: it marks storages,
refuses to compute with near and far ones together, as a GPU would, and counts
what is copied.

Sources
- Ren et al. 2021, "ZeRO-Offload", arXiv 2101.06840, §3 and §4.1.
"""

import weakref
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llmnotes.parallel.data_parallel.memory import key, tensors
from llmnotes.parallel.zero.gradients import ShardedGradients
from llmnotes.parallel.zero.optimizer import Unit

Move = Callable[[Tensor], Tensor]


class Link(TorchDispatchMode):
    """Two memories in one, inside `with`; what is not marked far is near."""

    def __init__(self):
        super().__init__()
        self.far: set[int] = set()
        self.moved: Counter = Counter()

    def down(self, x: Tensor) -> Tensor:
        """A copy in the far memory."""
        self.moved["down"] += x.nbytes
        copy = x.detach().clone()
        self.mark(copy)
        return copy

    def up(self, x: Tensor) -> Tensor:
        """A copy in the near memory."""
        near = torch.empty(x.shape, dtype=x.dtype)
        near.copy_(x)
        return near

    def mark(self, x: Tensor) -> None:
        """From now on, until it is freed, this memory is far."""
        if (name := key(x)) not in self.far:
            self.far.add(name)
            weakref.finalize(x.untyped_storage(), self.far.discard, name)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = tensors((args, kwargs))
        sides = {key(x) in self.far for x in given if x.ndim}
        if len(sides) == 2:
            self.cross(function, *args[:2])
        out = function(*args, **(kwargs or {}))
        if sides == {True}:
            for x in tensors(out):
                self.mark(x)
        return out

    def cross(self, function, to, x) -> None:
        """Count a copy; anything else needs both in one memory."""
        if function is not torch.ops.aten.copy_.default:
            raise RuntimeError(
                f"{function}: got tensors of both memories, expected one"
            )
        self.moved["down" if key(to) in self.far else "up"] += x.nbytes

    def bytes_far(self, kept: list[Tensor]) -> int:
        """How much of these tensors' memory is far."""
        found = {key(x): x.untyped_storage().nbytes() for x in kept}
        return sum(size for name, size in found.items() if name in self.far)


class Offloaded(ShardedGradients):
    """Stage 2 whose states and steps are in the far memory.

    down: copies a tensor there; with a GPU `lambda x: x.to("cpu")`.
    """

    def __init__(self, model, make, modules=None, *, down: Move):
        self.down = down
        super().__init__(model, make, modules)

    def lay(self, unit: Unit) -> None:
        """A master copy of the shard, far away."""
        super().lay(unit)
        unit.master = self.down(unit.master)

    def bring(self, gradient: Tensor, part: Tensor) -> Tensor:
        """The gradient goes to where the states are."""
        return self.down(gradient).to(part.dtype)


class Fetched(ShardedGradients):
    """Stage 2 whose states are far and come near for each step.

    down, up: copy a tensor there, and back.
    """

    def __init__(self, model, make, modules=None, *, down: Move, up: Move):
        self.down, self.up = down, up
        super().__init__(model, make, modules)

    def step(self) -> None:
        """Fetch, step, put back."""
        self.move(self.up)
        super().step()
        self.move(self.down)

    def move(self, there: Move) -> None:
        """Move all moments."""
        for moments in self.optimizer.state.values():
            for name, x in moments.items():
                if isinstance(x, Tensor) and x.ndim:
                    moments[name] = there(x)
