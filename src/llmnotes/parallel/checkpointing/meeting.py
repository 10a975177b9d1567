"""Ranks tell each other words, outside of the collectives of training.

    store = a small dictionary that all ranks share
    about = what the ranks have come together for

A collective that one rank does not call makes all others wait. Here each rank
leaves its word under a name of its own, and looks for those of the others: so
it can say who is missing. A thread may meet while training goes on.
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch.distributed.distributed_c10d import _get_default_store

from llmnotes.parallel.data_parallel import RankError

PATIENCE = 600.0  # seconds to wait for the slowest rank
PAUSE = 0.002  # seconds between two looks into the store


class Meeting:
    """All ranks of the group, or this process alone where there is none."""

    opened: Counter = Counter()  # how often under each name

    def __init__(self, name: str, patience: float = PATIENCE):
        self.patience, self.number = patience, 0
        self.rank, self.ranks, store = 0, 1, None
        if dist.is_initialized():
            self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
            store = _get_default_store()
        self.opened[name] += 1
        prefix = f"meeting/{name}/{self.opened[name]}"
        self.store = dist.PrefixStore(prefix, store or dist.HashStore())

    def exchange(self, about: str, word: Any) -> list[Any]:
        """Tell all ranks a word that JSON can hold; returns theirs, by rank.

        Raises `RankError` naming the ranks that did not come, or came for
        something else.
        """
        self.number += 1
        self.store.set(self.key(self.rank), json.dumps([about, word]))
        self.wait(about)
        heard = [
            json.loads(self.store.get(self.key(r))) for r in range(self.ranks)
        ]
        if self.number > 1:  # all have read the word before this one
            self.store.delete_key(self.key(self.rank, self.number - 1))
        for rank, (what, _) in enumerate(heard):
            if what != heard[0][0]:
                raise RankError(
                    f"rank {rank} came for: {what}; rank 0 for: {heard[0][0]}"
                )
        return [word for _, word in heard]

    def key(self, rank: int, number: int | None = None) -> str:
        """Where a rank's word lies."""
        return f"{number or self.number}/{rank}"

    def wait(self, about: str) -> None:
        """Until all have left their word."""
        ends = time.monotonic() + self.patience
        missing = list(range(self.ranks))
        while missing := [r for r in missing if not self.has_come(r)]:
            if time.monotonic() > ends:
                names = ", ".join(map(str, missing))
                raise RankError(
                    f"{about}: rank {names} of {self.ranks} has not come "
                    f"within {self.patience:g} s. All ranks must call this; "
                    "where one decides, as in 'save if best', let `told` "
                    "tell its decision to the others"
                )
            time.sleep(PAUSE)

    def has_come(self, rank: int) -> bool:
        """Whether a rank has left its word."""
        return self.store.check([self.key(rank)])

    def told(self, about: str, word: Any) -> Any:
        """Rank 0's word: what one rank decides for all."""
        return self.exchange(about, word)[0]

    def together(self, about: str, work: Callable[[], Any]) -> list[Any]:
        """Do something on each rank; returns what each returned, as JSON.

        Where one fails all raise: `ValueError` for bad input, `RuntimeError`
        for a disk that refuses, with the rank named.
        """
        error = None
        try:
            word = {"did": work()}
        except (OSError, ValueError) as caught:
            error, kind = caught, "bad" if is_bad(caught) else "failed"
            word = {kind: said(caught)}
        heard = self.exchange(about, word)
        for kind, raised in (("bad", ValueError), ("failed", RuntimeError)):
            for rank, word in enumerate(heard):
                if kind in word:
                    where = f"rank {rank}: " if self.ranks > 1 else ""
                    raise raised(f"{where}{word[kind]}") from error
        return [word["did"] for word in heard]


def is_bad(error: Exception) -> bool:
    """Whether the input is to blame, not the disk."""
    return isinstance(error, ValueError)


def said(error: Exception) -> str:
    """An error in words."""
    return str(error) if is_bad(error) else f"{type(error).__name__}: {error}"
