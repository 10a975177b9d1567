"""How things stood when a region ran first: dropout, autocast, buffers.

    random  = states of the generators, 5,056 bytes for the CPU
    before  = buffers that the region writes to, and what was in them

A region is the same function twice only if everything that it reads stands
as it did. And what comes after must not notice: the second run must leave
random numbers and buffers where it found them.
"""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


class State:
    """Taken before the first run; `restored` brings it back for a second."""

    def __init__(self, tensors: Sequence[Tensor]):
        self.devices = devices(tensors)
        self.random = torch.get_rng_state()
        self.cuda = [torch.cuda.get_rng_state(i) for i in self.devices]
        self.types = ["cpu", "cuda"] if self.devices else ["cpu"]
        self.casts = {
            kind: (
                torch.is_autocast_enabled(kind),
                torch.get_autocast_dtype(kind),
            )
            for kind in self.types
        }
        self.before: list[tuple[Tensor, Tensor]] = []

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Autocast as it was, without its cache of cast weights.

        A weight that was cast and kept without a graph would be used later
        by others, who would find no gradient.
        """
        with contextlib.ExitStack() as stack:
            for kind, (enabled, dtype) in self.casts.items():
                stack.enter_context(
                    torch.autocast(
                        kind, dtype, enabled=enabled, cache_enabled=False
                    )
                )
            yield

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """Random numbers and buffers as they were; afterwards as they are."""
        now = [buffer.clone() for buffer, _ in self.before]
        with torch.random.fork_rng(self.devices):
            torch.set_rng_state(self.random)
            for i, state in zip(self.devices, self.cuda, strict=True):
                torch.cuda.set_rng_state(state, i)
            # .data: no gradient minds, and no version is counted up.
            for buffer, old in self.before:
                buffer.data.copy_(old)
            try:
                yield
            finally:
                for (buffer, _), new in zip(self.before, now, strict=True):
                    buffer.data.copy_(new)


def devices(tensors: Sequence[Tensor]) -> list[int]:
    """Numbers of the GPUs in use: those of tensors, and the current one."""
    if not torch.cuda.is_initialized():
        return []
    return sorted(
        {x.get_device() for x in tensors if x.is_cuda}
        | {torch.cuda.current_device()}
    )
