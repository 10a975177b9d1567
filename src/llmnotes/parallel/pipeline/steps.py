"""Steps: what a rank does one after the other, messages included.

run, send, receive = the three acts of a step
message            = what an event makes and another rank waits for
"""

from dataclasses import dataclass

from llmnotes.parallel.pipeline.events import Event, Schedule


@dataclass(frozen=True)
class Step:
    """A rank runs an event, or sends or receives what one has made."""

    act: str
    event: Event

    def __str__(self):
        return str(self.event) if self.act == "run" else self.words

    @property
    def words(self) -> str:
        """What a rank does, in words."""
        return f"{self.act} {self.event}"


@dataclass(frozen=True)
class Program:
    """A schedule, and what each rank does with messages in their places."""

    schedule: Schedule
    steps: tuple[tuple[Step, ...], ...]  # of each rank


def bare(schedule: Schedule) -> Program:
    """A program without messages, where all ranks see what any has made."""
    return Program(
        schedule,
        tuple(
            tuple(Step("run", event) for event in order)
            for order in schedule.orders
        ),
    )
