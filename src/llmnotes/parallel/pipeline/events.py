"""Schedules as data: what each rank does, one event after the other.

    ranks         = p
    chunks        = v, stages that one rank holds
    stage         = a piece of the model, 0 to pv − 1; rank `stage % p` has it
    micro_batches = m, pieces of a batch
    F             = forward of one micro-batch through one stage
    B             = its whole backward
    I, W          = the two halves of B: the gradient of the stage's input,
                    which the stage before waits for, and that of its weights,
                    which nobody waits for
    0F3           = F of stage 0 and micro-batch 3

Sources
- Huang et al. 2018, "GPipe", arXiv 1811.06965, §2.3.
- Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on GPU
  Clusters Using Megatron-LM", arXiv 2104.04473, §2.2.
- Qi et al. 2023, "Zero Bubble Pipeline Parallelism", arXiv 2401.10241, §2.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Event:
    """One micro-batch passes through one stage, in one direction."""

    kind: str
    stage: int
    micro: int

    def __str__(self):
        return f"{self.stage}{self.kind}{self.micro}"


@dataclass(frozen=True)
class Schedule:
    """What every rank does, and in which order."""

    chunks: int
    micro_batches: int
    orders: tuple[tuple[Event, ...], ...]  # of each rank

    @property
    def ranks(self) -> int:
        """How many ranks there are, p."""
        return len(self.orders)

    @property
    def last(self) -> int:
        """The last stage, whose output is the loss."""
        return self.ranks * self.chunks - 1

    @cached_property
    def backward(self) -> str:
        """The kind of event that a stage's gradient comes from: B or I."""
        kinds = {event.kind for order in self.orders for event in order}
        return "I" if "I" in kinds else "B"

    def rank(self, stage: int) -> int:
        """Which rank has a stage."""
        return stage % self.ranks

    def needs(self, event: Event) -> list[Event]:
        """What must have happened before."""
        stage, micro = event.stage, event.micro
        if event.kind == "F":
            return [Event("F", stage - 1, micro)] if stage else []
        if event.kind == "W":
            return [Event("I", stage, micro)]
        own = Event("F", stage, micro)
        if stage == self.last:
            return [own]
        return [own, Event(self.backward, stage + 1, micro)]

    def heir(self, event: Event) -> int | None:
        """The rank that waits for what an event makes, if any."""
        step = {"F": 1, "B": -1, "I": -1, "W": 0}[event.kind]
        stage = event.stage + step
        if not step or not 0 <= stage <= self.last:
            return None
        return self.rank(stage)


def check_complete(schedule: Schedule) -> None:
    """Raise `ValueError` unless every event is there once, at its rank."""
    kinds = ("F", "I", "W") if schedule.backward == "I" else ("F", "B")
    for rank, order in enumerate(schedule.orders):
        count = Counter(order)
        wanted = {
            Event(kind, stage, micro)
            for stage in range(rank, schedule.last + 1, schedule.ranks)
            for micro in range(schedule.micro_batches)
            for kind in kinds
        }
        for event in wanted | set(count):
            if count[event] != (event in wanted):
                raise ValueError(
                    f"schedule: got {event} {count[event]} times on rank "
                    f"{rank}, expected {int(event in wanted)}"
                )


def peak(order: tuple[Event, ...], ends: str = "BI") -> int:
    """The most micro-batches that a rank holds at one time, per stage.

    One is held from its F until its B or I; with `ends="BW"` until its W.
    """
    alive = most = 0
    for event in order:
        alive += (event.kind == "F") - (event.kind in ends)
        most = max(most, alive)
    return most
