"""Who died? A rank's error names the rank that caused it.

gloo says "connection reset by peer" and NCCL waits: neither names a rank.
So each rank writes a sign of life to the store that all of them read. When a
collective fails, the others look who has stopped, and say so.

    store = a small dictionary that all ranks share, outside of collectives
    beat  = a count that a thread of each rank raises while it lives
"""

import threading
import time
from types import TracebackType

import torch.distributed as dist

BEAT = 0.2  # seconds between two signs of life
SILENT = 1.5  # seconds without one, then a rank counts as dead


class RankError(RuntimeError):
    """A rank failed or died; the message names it."""


class Watch:
    """Around all that a rank does: turns its errors into ones that name.

    An error of this rank itself is passed on as it is, after the others
    have been told of it.
    """

    def __init__(self, store: dist.Store, rank: int, ranks: int):
        self.store, self.rank, self.ranks = store, rank, ranks
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.beat, daemon=True)

    def __enter__(self):
        self.store.set(f"beat/{self.rank}", "0")
        self.thread.start()
        return self

    def beat(self) -> None:
        """Raise the count until all is over."""
        number = 0
        while not self.over.wait(BEAT):
            number += 1
            try:
                self.store.set(f"beat/{self.rank}", str(number))
            except RuntimeError:  # the store is gone, and the run with it
                return

    def __exit__(
        self, kind: type | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if error is None or isinstance(error, RankError):
            self.end("done")
        elif of_a_collective(error):
            reason = self.reason()
            self.end(f"was stopped by this: {reason}")
            raise RankError(f"rank {self.rank}: {reason}") from error
        else:
            self.end(f"failed with {type(error).__name__}: {error}")

    def end(self, how: str) -> None:
        """Stop the signs of life, and say how it ended."""
        self.store.set(f"end/{self.rank}", how)
        self.over.set()
        self.thread.join()

    def reason(self) -> str:
        """Which rank is to blame, as far as can be seen from here."""
        others = [r for r in range(self.ranks) if r != self.rank]
        before = {r: self.read(f"beat/{r}") for r in others}
        ends = time.monotonic() + SILENT
        while time.monotonic() < ends:
            for r in others:
                how = self.read(f"end/{r}")
                if how.startswith("failed"):
                    return f"rank {r} {how}"
            time.sleep(BEAT)
        stopped = [
            r for r in others
            if self.read(f"beat/{r}") == before[r]
            and not self.read(f"end/{r}")
        ]  # fmt: skip
        left = [r for r in others if self.read(f"end/{r}") == "done"]
        if stopped:
            return f"{said(stopped)} died: no sign of life for {SILENT} s"
        if left:
            return f"{said(left)} had ended already"
        return "all other ranks live; one waits for another message than sent"

    def read(self, name: str) -> str:
        """What the store holds under a name; "" where there is nothing."""
        return (
            self.store.get(name).decode() if self.store.check([name]) else ""
        )


def of_a_collective(error: BaseException) -> bool:
    """Whether an error came from waiting for other ranks."""
    words = (
        "gloo",
        "Connection",
        "connection",
        "Timed out",
        "timed out",
        "NCCL",
    )
    return isinstance(error, RuntimeError) and any(
        word in str(error) for word in words
    )


def said(ranks: list[int]) -> str:
    """Ranks in words."""
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
