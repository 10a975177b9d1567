"""Programs: the messages of a schedule, in places where no rank can hang.

If every rank waits with each send until the other receives, as NCCL does for
a large tensor, two that send to each other first wait for ever. So there is
one order of all runs and messages, of all ranks together, and each rank has
its own lines of it. Then nothing can hang: of all that is not done, whatever
comes first in that order can be done.
"""

from llmnotes.parallel.pipeline.events import (
    Event,
    Schedule,
    check_complete,
)
from llmnotes.parallel.pipeline.simulator import simulate
from llmnotes.parallel.pipeline.steps import Program, Step, bare


def program(schedule: Schedule) -> Program:
    """Put the messages where no rank can hang.

    Raises `ValueError` for a schedule in which an event is missing, is there
    twice, or comes before what it needs.
    """
    check_complete(schedule)
    steps = [[] for _ in schedule.orders]
    for event in in_time(schedule):
        home, heir = schedule.rank(event.stage), schedule.heir(event)
        steps[home].append(Step("run", event))
        if heir not in (None, home):
            steps[home].append(Step("send", event))
            steps[heir].append(Step("receive", event))
    return Program(schedule, tuple(map(tuple, steps)))


def in_time(schedule: Schedule) -> list[Event]:
    """All events, in the order in which they end if each takes as long.

    (A whole backward takes twice as long.)
    """
    spans = simulate(bare(schedule)).spans
    ends = {s.event: (s.end, rank) for rank in range(schedule.ranks)
            for s in spans[rank]}  # fmt: skip
    return sorted(ends, key=ends.get)


def naive(schedule: Schedule) -> Program:
    """Send as soon as it is there, receive when it is needed: this may hang.

    Here to be shown; `program` has the order that holds.
    """
    steps = []
    for rank, order in enumerate(schedule.orders):
        steps.append([])
        for event in order:
            for need in schedule.needs(event):
                if schedule.rank(need.stage) != rank:
                    steps[-1].append(Step("receive", need))
            steps[-1].append(Step("run", event))
            if schedule.heir(event) not in (None, rank):
                steps[-1].append(Step("send", event))
    return Program(schedule, tuple(map(tuple, steps)))
