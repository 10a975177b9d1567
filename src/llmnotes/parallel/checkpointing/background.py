"""Saving while training goes on.

    snapshot = a copy of the parts, made before `save` returns

The optimizer changes weights in place. Whoever writes them later must have a
copy, or writes the values after the update; for tensors on the CPU `.cpu()`
and `.to("cpu")` are none.

Sources
- Mohan et al. 2021, "CheckFreq: Frequent, Fine-Grained DNN Checkpointing",
  USENIX FAST, §4.1: snapshot, then persist.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from llmnotes.parallel.checkpointing.checkpoints import Checkpoints
from llmnotes.parallel.checkpointing.parts import Part


class Background:
    """Saves in a thread of its own, one checkpoint at a time.

    An error of the writer is raised by the next `save`, by `wait`, or where
    the block of `with` ends.
    """

    def __init__(self, checkpoints: Checkpoints):
        self.checkpoints = checkpoints
        self.writer = ThreadPoolExecutor(1, "checkpoint")
        self.running: Future[Path] | None = None

    def save(
        self, step: int, parts: list[Part], facts: dict | None = None
    ) -> None:
        """Wait for the save before, copy all that is given, and return."""
        self.wait()
        held = self.snapshot(parts)
        self.running = self.writer.submit(
            self.write, step, held, deepcopy(facts)
        )

    def write(self, step: int, held: list[Part], facts: dict | None) -> Path:
        """What the thread does; the copies go as soon as it is done."""
        try:
            return self.checkpoints.save(step, held, facts)
        finally:
            held.clear()

    def snapshot(self, parts: list[Part]) -> list[Part]:
        """Copies on the CPU that no optimizer knows."""
        return [
            replace(p, values=p.values.to("cpu", copy=True)) for p in parts
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
