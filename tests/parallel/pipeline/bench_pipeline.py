"""What real ranks do and when, what they hold, and what they send."""

import pytest

from llmnotes.parallel.data_parallel import run
from llmnotes.parallel.pipeline import (
    Rendezvous,
    program,
    simulate,
    traffic,
)
from tests.parallel.pipeline import ranks, sleeping, tiny

RANKS, MICRO, CHUNKS = 4, 8, 2
NAMES = "GPipe", "1F1B", "interleaved", "ZB-H1"


def bench_timelines_of_real_runs(record, processes):
    schedules = tiny.schedules(RANKS, MICRO)
    found = run(ranks.timed, RANKS, schedules, processes=processes)
    held = run(ranks.peaks, RANKS, schedules, processes=processes)
    rows = []
    for i, name in enumerate(NAMES):
        for rank in range(RANKS):
            events = found[rank][i]
            words = " ".join(f"{event}@{start}" for event, start, _ in events)
            rows.append((name, rank, events[-1][2], held[rank][i], words))
    record(
        "timeline",
        kind="exact",
        seed=3,
        title="What 4 ranks did with 8 micro-batches, and when",
        prediction=(
            "What the simulator says: GPipe and 1F1B end at 33, ZB-H1 at 27, "
            "and two chunks at 57 of their units, which are half as long. "
            "GPipe holds 8 micro-batches on every rank, 1F1B 4, 3, 2, 1."
        ),
        columns={
            "schedule": "",
            "rank": "",
            "end": "",
            "held": "",
            "events": "",
        },
        labels={
            "end": "ends at",
            "held": "most stages held",
            "events": "events, each with its start",
        },
        rows=rows,
    )


def bench_bubbles(record):
    rows = []
    for m in (1, 4, 8, 32):
        for name, schedule in zip(
            NAMES, tiny.schedules(RANKS, m), strict=True
        ):
            made = simulate(program(schedule))
            stood = simulate(program(schedule), messages=Rendezvous)
            rows.append(
                (name, m, str(made.bubble), float(made.bubble),
                 float(made.idle), float(stood.bubble))
            )  # fmt: skip
    record(
        "bubble",
        kind="exact",
        seed=None,
        title="What 4 ranks wait, F = I = W",
        prediction=(
            "3/m of the work for GPipe and 1F1B, half of it with two chunks, "
            "a third in ZB-H1. A single micro-batch leaves three of four "
            "ranks idle, whatever the list. Where every rank stands still "
            "at each message, a little more."
        ),
        columns={
            "schedule": "",
            "m": "",
            "exact": "",
            "bubble": "",
            "idle": "",
            "stood": "",
        },
        labels={
            "m": "micro-batches",
            "exact": "waiting over work",
            "bubble": "the same",
            "idle": "waiting over all time",
            "stood": "waiting over work, ranks stand still at messages",
        },
        rows=rows,
    )


def bench_bytes_that_are_held(record, processes):
    schedules = tiny.schedules(RANKS, MICRO)
    found = run(ranks.held, RANKS, schedules, 8, processes=processes)
    record(
        "held",
        kind="exact",
        seed=3,
        title="The most bytes that live at one time in a step, per rank",
        prediction=(
            "In proportion to the micro-batches held: GPipe 8 on every rank, "
            "1F1B 4, 3, 2, 1; two chunks 5.5 to 2.5; ZB-H1 about 4 "
            "everywhere, less what its first half lets go of."
        ),
        columns={
            "schedule": "",
            "rank0": "B",
            "rank1": "B",
            "rank2": "B",
            "rank3": "B",
        },
        labels={f"rank{r}": f"rank {r}" for r in range(RANKS)},
        rows=[
            (name, *(found[r][i] for r in range(RANKS)))
            for i, name in enumerate(NAMES)
        ],
    )


def bench_numbers_that_are_sent(record, processes):
    inputs, _ = tiny.batches(MICRO)
    once = sum(traffic(*x.shape, tiny.WIDTH) for x in inputs)
    rows = []
    for name, schedule in zip(
        NAMES, tiny.schedules(RANKS, MICRO), strict=True
    ):
        found = run(ranks.sent, RANKS, schedule, processes=processes)
        messages = sum(count["send"] for _, count in found)
        numbers = int(sum(sent for sent, _ in found))
        rows.append((name, messages, numbers, once * schedule.last))
    record(
        "sent",
        kind="exact",
        seed=0,
        title="What all four ranks send in a step",
        prediction=(
            "2bnh numbers for each micro-batch and boundary. Four stages "
            "have three boundaries, eight have seven."
        ),
        columns={
            "schedule": "",
            "messages": "",
            "numbers": "",
            "formula": "",
        },
        labels={"numbers": "numbers, counted", "formula": "numbers, formula"},
        rows=rows,
    )


@pytest.mark.timing
def bench_ranks_that_sleep(record, processes):
    schedules = tiny.schedules(RANKS, MICRO)[:3]
    run(sleeping.slept, RANKS, schedules, processes=processes)
    found = run(sleeping.slept, RANKS, schedules, processes=processes)
    record(
        "slept",
        kind="timing",
        seed=None,
        title="Seconds of a step whose stages sleep 20 and 40 ms",
        prediction=(
            "33 units of 20 ms for GPipe and 1F1B, 0.66 s; 57 units for two "
            "chunks, whose stages here sleep as long as whole ones, 1.14 s. "
            "At most a tenth more."
        ),
        columns={"schedule": "", "seconds": "s", "units": "s"},
        labels={"seconds": "measured", "units": "simulated"},
        rows=[
            (
                name,
                found[0][i],
                sleeping.WORK * simulate(program(schedule)).end,
            )
            for i, (name, schedule) in enumerate(
                zip(NAMES, schedules, strict=False)
            )
        ],
    )
