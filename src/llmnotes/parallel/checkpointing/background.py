"""Saving while training goes on.

    snapshot = a copy of the parts, made before `save` returns

The optimizer changes weights in place. Whoever writes them later must have a
copy, or writes the values after the update; for tensors on the CPU `.cpu()`
and `.to("cpu")` are none. The copy's memory is kept from one save to the next:
to be given new memory takes longer than to fill it.

Sources
- Mohan et al. 2021, "CheckFreq: Frequent, Fine-Grained DNN Checkpointing",
  USENIX FAST, §4.1: snapshot, then persist.
"""

import os
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from llmnotes.parallel.checkpointing.checkpoints import Checkpoints
from llmnotes.parallel.checkpointing.parts import Part


class Background:
    """Saves in a thread of its own, one checkpoint at a time.

    It holds one copy of what was saved last until the block of `with` ends.
    An error of the writer is raised by the next `save`, by `wait`, or there.
    """

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints = checkpoints
        self.writer = ThreadPoolExecutor(1, "checkpoint", give_way)
        self.copies: list[Tensor] = []
        self.running: Future[Path] | None = None

    def save(
        self, step: int, parts: list[Part], facts: dict | None = None
    ) -> None:
        """Wait for the save before, copy all that is given, and return."""
        self.wait()
        self.running = self.writer.submit(
            self.checkpoints.save, step, self.snapshot(parts), deepcopy(facts)
        )

    def snapshot(self, parts: list[Part]) -> list[Part]:
        """Copies on the CPU that no optimizer knows."""
        values = [p.values for p in parts]
        if list(map(kind, values)) != list(map(kind, self.copies)):
            self.copies = []  # let go first: never two of them
            self.copies = [torch.empty_like(x, device="cpu") for x in values]
        for copy, x in zip(self.copies, values, strict=True):
            copy.copy_(x)
        return [
            replace(p, values=copy)
            for p, copy in zip(parts, self.copies, strict=True)
        ]

    def wait(self) -> Path | None:
        """Until the save is done; where it lies, if one was running."""
        running, self.running = self.running, None
        return running.result() if running else None

    def __enter__(self):
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        try:
            if error is None:
                self.wait()
        finally:
            self.writer.shutdown()
            self.copies = []


def kind(row: Tensor) -> tuple:
    """What a copy must have in common with it."""
    return row.shape, row.dtype


def give_way() -> None:
    """Let this thread, and those that it starts, run when others rest.

    Linux counts niceness for each thread; elsewhere it is the process's.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
