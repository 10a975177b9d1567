"""What a rank sends: every collective counted, none estimated.

    N      = ranks of a group
    n      = numbers of the tensor that is summed, shared out or gathered:
             the whole one, all N parts of it
    sent   = numbers that leave one rank, as rings send them:
             reduce-scatter n(N−1)/N, all-gather n(N−1)/N, all-reduce both

A collective says what is to be done, not by which messages; the numbers that
leave a rank are those of a ring, which no other way beats for large tensors.
Messages from one rank to one other are counted as they are.

Sources
- Patarasuk & Yuan 2009, "Bandwidth optimal all-reduce algorithms for
  clusters of workstations", J. of Parallel and Distributed Computing 69, §3.
- PyTorch's operators `c10d` and `_c10d_functional`.
"""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import _resolve_process_group
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

KINDS = {
    "allreduce_": "all-reduce",
    "all_reduce": "all-reduce",
    "all_reduce_": "all-reduce",
    "_reduce_scatter_base_": "reduce-scatter",
    "reduce_scatter_": "reduce-scatter",
    "reduce_scatter_tensor": "reduce-scatter",
    "_allgather_base_": "all-gather",
    "allgather_": "all-gather",
    "all_gather_into_tensor": "all-gather",
    "alltoall_base_": "all-to-all",
    "alltoall_": "all-to-all",
    "all_to_all_single": "all-to-all",
    "broadcast_": "broadcast",
    "broadcast": "broadcast",
    "reduce_": "reduce",
    "gather_": "gather",
    "scatter_": "scatter",
    "send": "send",
}
# Of the whole tensor, what leaves a rank, in units of (N−1)/N.
ROUNDS = {"all-reduce": 2, "send": None}


@dataclass(frozen=True)
class Call:
    """One collective, or one message, of one rank."""

    kind: str
    numbers: int  # n
    width: int  # bytes of a number
    ranks: int  # N

    @property
    def sent(self) -> Fraction:
        """Numbers that leave this rank."""
        if self.kind == "send":
            return Fraction(self.numbers)
        rounds = ROUNDS.get(self.kind, 1)
        return Fraction(rounds * self.numbers * (self.ranks - 1), self.ranks)


class Traffic(TorchDispatchMode):
    """Counts what this rank asks of torch.distributed inside `with`.

    It sees what DDP, FSDP2 and DTensor send as well. Work that autograd does
    on a thread of its own is not seen on devices other than the CPU.
    """

    def __init__(self):
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if any(issubclass(kind, Tensor) and kind.__name__ == "DTensor"
               for kind in types):  # fmt: skip
            return NotImplemented  # so that what it sends inside is seen
        space, _, name = function.name().partition("::")
        if "c10d" in space and name.split(".")[0] in KINDS:
            self.calls.append(call(KINDS[name.split(".")[0]], args))
        return function(*args, **(kwargs or {}))

    @property
    def sent(self) -> Fraction:
        """Numbers that left this rank."""
        return sum((c.sent for c in self.calls), Fraction())

    @property
    def bytes(self) -> Fraction:
        """Bytes that left this rank."""
        return sum((c.sent * c.width for c in self.calls), Fraction())

    def count(self) -> Counter:
        """How many of each kind."""
        return Counter(c.kind for c in self.calls)


def call(kind: str, args: tuple) -> Call:
    """Read the whole tensor's size and the group from an operator's inputs."""
    ranks = size_of_group(args)
    found = [x for x in tree_leaves(args) if isinstance(x, Tensor)]
    whole = max(sum(x.numel() for x in group) for group in groups(args))
    if kind == "all-gather" and not isinstance(args[0], list):
        whole = max(whole, found[0].numel())
    if kind == "all-gather" and isinstance(args[1], int):
        whole *= ranks  # this one is given a rank's part only
    return Call(kind, whole, found[0].element_size(), ranks)


def groups(args: tuple) -> list[list[Tensor]]:
    """The tensors of each argument, lists of lists laid flat."""
    leaves = [
        [x for x in tree_leaves(arg) if isinstance(x, Tensor)] for arg in args
    ]
    return [group for group in leaves if group]


def size_of_group(args: tuple) -> int:
    """N of the process group that an operator was given."""
    for arg in reversed(args):
        if isinstance(arg, str):
            return named(arg)
        if type(arg).__name__ == "ScriptObject":
            try:
                return dist.ProcessGroup.unbox(arg).size()
            except (RuntimeError, ValueError):
                continue
    return dist.get_world_size()


def named(group: str) -> int:
    """N of a group by its name."""
    return _resolve_process_group(group).size()
