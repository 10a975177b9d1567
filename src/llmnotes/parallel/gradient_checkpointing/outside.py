"""What a region takes from outside, and what it writes there.

    made     = a storage that an operation inside has made
    outside  = every other storage: arguments, parameters, buffers
    read     = tensors from outside that require a gradient
    before   = buffers that are written to, as they were

A function says what it is given; what else it reads, such as the weights of
a layer, is in no list. So it is watched, operation by operation. That costs
two microseconds for each, and so the watch looks at as little as it can.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from llmnotes.parallel.data_parallel.memory import key

# Operators that write into arguments, the running mean and variance, and do
# not say so in their schema; and where they are told that they train.
SILENT, TRAINS = {"native_batch_norm": (3, 4), "cudnn_batch_norm": (3, 4)}, 5


class Writes(TorchDispatchMode):
    """Watches what is written; `buffers` are those that may be."""

    def __init__(self, buffers: Sequence[Tensor] = ()):
        super().__init__()
        self.buffers = {key(x): x for x in buffers}
        self.made: set[int] = set()
        self.before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        habit = habit_of(function)
        for x in habit.written(args, kwargs):
            self.write(function, x)
        out = function(*args, **kwargs)
        if habit.makes:
            self.made.update(key(x) for x in flat((out,)))
        return out

    def write(self, function, x: Tensor) -> None:
        """Keep a buffer as it was; refuse to write to anything else."""
        name = key(x)
        if name in self.made:
            return
        if name not in self.buffers:
            raise ValueError(
                f"function: it writes ({function}) into a tensor of shape "
                f"{tuple(x.shape)} that comes from outside, and would write "
                "again in the recompute; expected writes into what it made, "
                "or into buffers of the module that is handed over"
            )
        buffer = self.buffers[name]
        if not any(buffer is old for old, _ in self.before):
            self.before.append((buffer, buffer.clone()))


class Outside(Writes):
    """Watches what is read as well, while nothing inside has a graph."""

    def __init__(self, buffers: Sequence[Tensor] = ()):
        super().__init__(buffers)
        self.found: dict[int, Tensor] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        for x in flat((*args, *(kwargs or {}).values())):
            if x.requires_grad:  # nothing that was made here does
                self.found[id(x)] = x
        return super().__torch_dispatch__(function, types, args, kwargs)


class Habit(NamedTuple):
    """What an operator does to storages, by its schema."""

    places: tuple[int, ...]  # arguments that it writes to
    names: tuple[str, ...]  # and what they are called
    silent: tuple[int, ...]  # those that it does not tell of
    makes: bool  # results have storages of their own

    def written(self, args: tuple, kwargs: dict) -> list[Tensor]:
        """The tensors that this call writes to."""
        found = [args[i] for i in self.places if i < len(args)]
        found += [kwargs[name] for name in self.names if name in kwargs]
        if self.silent and args[TRAINS]:
            found += [args[i] for i in self.silent]
        return list(flat((found,)))


@functools.cache
def habit_of(function: Any) -> Habit:
    """Read an operator's schema."""
    schema = function._schema
    writes = [
        (i, argument.name)
        for i, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    places, names = zip(*writes, strict=True) if writes else ((), ())
    silent = SILENT.get(schema.name.partition("::")[2], ())
    views = any(out.alias_info is not None for out in schema.returns)
    # Python's own new tensors come in through an operator that hands on.
    fresh = function is torch.ops.aten.lift_fresh.default
    return Habit(places, names, silent, fresh or not views)


def flat(tree: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors in nested lists and tuples."""
    for x in tree:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, (list, tuple)):
            yield from flat(x)


def buffers_of(function: Callable) -> list[Tensor]:
    """The buffers of the module that is called, or whose method is."""
    while isinstance(function, functools.partial):
        function = function.func
    if not isinstance(function, nn.Module):
        function = getattr(function, "__self__", None)
    return list(function.buffers()) if isinstance(function, nn.Module) else []
