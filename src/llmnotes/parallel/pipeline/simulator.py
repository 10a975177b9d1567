"""A simulator: when each event of a program begins and ends.

    Costs   = what an event takes: forward, input and weight (B takes both),
              times the stage's own factor; message from rank to rank
    Span    = an event with its begin and its end
    bubble  = (p − 1)/m or so: time beyond the ideal, over the ideal
    idle    = the same time over all of it: (p − 1)/(m + p − 1)

The ideal is the time of the busiest rank's events without a gap. All times
are exact if the costs are (integers, fractions).

Two kinds of messages. `Posted`: a rank leaves a send or a receive with the
network and goes on; whoever needs the message waits for it. `Rendezvous`:
sender and receiver both stand still until they have met. That is all that a
network without buffers offers, so a program that ends here ends everywhere.
"""

from dataclasses import dataclass
from fractions import Fraction
from numbers import Rational

from llmnotes.parallel.pipeline.events import Event
from llmnotes.parallel.pipeline.steps import Program, Step, bare


@dataclass(frozen=True)
class Costs:
    """Units of time; `stages` are factors, by default 1 for each stage."""

    forward: Rational = 1
    input: Rational = 1
    weight: Rational = 1
    message: Rational = 0
    stages: tuple[Rational, ...] = ()

    def of(self, event: Event) -> Rational:
        """What an event takes."""
        kinds = {"F": self.forward, "I": self.input, "W": self.weight}
        kinds["B"] = self.input + self.weight
        factor = self.stages[event.stage] if self.stages else 1
        return kinds[event.kind] * factor


@dataclass(frozen=True)
class Span:
    """When an event happened."""

    event: Event
    start: Rational
    end: Rational


@dataclass(frozen=True)
class Timeline:
    """What each rank did, and when."""

    spans: tuple[tuple[Span, ...], ...]

    @property
    def end(self) -> Rational:
        """When all is done."""
        return max(s.end for spans in self.spans for s in spans)

    @property
    def ideal(self) -> Rational:
        """The busiest rank's time without a gap."""
        return max(sum(s.end - s.start for s in x) for x in self.spans)

    @property
    def bubble(self) -> Fraction:
        """Time beyond the ideal, over the ideal: (p − 1)/m."""
        return Fraction(self.end) / Fraction(self.ideal) - 1

    @property
    def idle(self) -> Fraction:
        """Time beyond the ideal, over all: (p − 1)/(m + p − 1)."""
        return 1 - Fraction(self.ideal) / Fraction(self.end)


class Posted:
    """Messages are left with the network; who needs one waits for it."""

    def __init__(self, program: Program, costs: Costs):
        self.schedule, self.steps = program.schedule, program.steps
        self.costs, self.bare = costs, program == bare(program.schedule)
        self.at = [0] * self.schedule.ranks  # the next step of each rank
        self.clock = [0] * self.schedule.ranks
        self.spans = [[] for _ in self.steps]
        self.done: dict[Step, Rational] = {}
        self.before = [
            [self.conditions(rank, step) for step in steps]
            for rank, steps in enumerate(self.steps)
        ]

    def conditions(self, rank: int, step: Step) -> list[tuple[Step, int]]:
        """What must be done before a step, and by which rank."""
        if step.act == "receive":
            return []
        if step.act == "send":
            return [(Step("run", step.event), rank)]
        found = []
        for need in self.schedule.needs(step.event):
            home = self.schedule.rank(need.stage)
            if home == rank or self.bare:
                found.append((Step("run", need), home))
            else:
                found.append((Step("receive", need), rank))
                found.append((Step("send", need), home))
        return found

    def next(self, rank: int) -> Step | None:
        """What a rank does next, if anything."""
        steps, at = self.steps[rank], self.at[rank]
        return steps[at] if at < len(steps) else None

    def blocker(self, rank: int) -> int | None:
        """The rank that this one waits for, perhaps itself; or nobody."""
        for step, whom in self.before[rank][self.at[rank]]:
            if step not in self.done:
                return whom
        return None

    def go(self, rank: int) -> None:
        """Do a rank's next step; it begins when all it needs is there."""
        step, start = self.next(rank), self.clock[rank]
        if step.act == "run":
            for need, _ in self.before[rank][self.at[rank]]:
                late = self.costs.message if need.act != "run" else 0
                start = max(start, self.done[need] + late)
            self.clock[rank] = start + self.costs.of(step.event)
            self.spans[rank].append(Span(step.event, start, self.clock[rank]))
        self.done[step] = self.clock[rank]
        self.at[rank] += 1


class Rendezvous(Posted):
    """Sender and receiver stand still until they have met."""

    def blocker(self, rank: int) -> int | None:
        """A message also waits for the rank at its other end."""
        whom, step = super().blocker(rank), self.next(rank)
        if step.act == "run" or whom is not None:
            return whom
        other, met = self.other(rank, step)
        return None if self.next(other) == met else other

    def other(self, rank: int, step: Step) -> tuple[int, Step]:
        """The rank at a message's other end, and what it must be doing."""
        if step.act == "send":
            heir = self.schedule.heir(step.event)
            return heir, Step("receive", step.event)
        return self.schedule.rank(step.event.stage), Step("send", step.event)

    def go(self, rank: int) -> None:
        """A message moves two ranks on, at one time."""
        step = self.next(rank)
        if step.act == "run":
            super().go(rank)
            return
        other, its = self.other(rank, step)
        start = max(self.clock[rank], self.clock[other])
        self.done[step] = self.done[its] = start
        for r in (rank, other):
            self.clock[r] = start + self.costs.message
            self.at[r] += 1


def simulate(
    program: Program, costs: Costs = Costs(), messages: type = Posted
) -> Timeline:
    """Run a program in units of time.

    Raises `ValueError` that names the ranks which wait for each other, and
    what for, if the program hangs.
    """
    stages = program.schedule.last + 1
    if costs.stages and len(costs.stages) != stages:
        raise ValueError(
            f"stages: got {len(costs.stages)} factors, expected {stages}"
        )
    machine = messages(program, costs)
    ranks = range(program.schedule.ranks)
    while left := [r for r in ranks if machine.next(r)]:
        before = list(machine.at)
        for rank in left:
            while machine.next(rank) and machine.blocker(rank) is None:
                machine.go(rank)
        if machine.at == before:
            raise ValueError(f"program: {circle(machine, left[0])}")
    return Timeline(tuple(map(tuple, machine.spans)))


def circle(machine: Posted, rank: int) -> str:
    """Say who waits for whom, from one rank until it closes."""
    seen = []
    while rank not in seen and machine.next(rank):
        seen.append(rank)
        rank = machine.blocker(rank)
    if not machine.next(rank):
        return f"{waits(machine, seen[-1])}, which has ended"
    return "; ".join(waits(machine, r) for r in seen[seen.index(rank) :])


def waits(machine: Posted, rank: int) -> str:
    """What one rank waits for."""
    other = machine.blocker(rank)
    whom = "itself" if other == rank else f"rank {other}"
    return f"rank {rank} waits at {machine.next(rank).words!r} for {whom}"
