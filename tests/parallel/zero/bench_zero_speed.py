"""Our steps beside FSDP2's: same model, same two ranks, in turns."""

import statistics

import jaxtyping
import pytest

from llmnotes.parallel.data_parallel import run
from tests.conftest import wait_until_quiet
from tests.parallel.zero.speed import WAYS, in_turns

ROUNDS = 21


@pytest.fixture(autouse=True)
def fair_ground():
    """No shape checks inside the timings."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.timing
def bench_steps(record, processes):
    wait_until_quiet()
    found = run(in_turns, 2, ROUNDS, processes=processes, patience=300)
    # A step is over when the slower rank is.
    rounds = [
        {way: max(a[way], b[way]) for way in WAYS}
        for a, b in zip(*found, strict=True)
    ]
    rows = []
    for stage in (2, 3):
        ours, theirs = f"ours {stage}", f"FSDP2 {stage}"
        ratio = statistics.median(r[ours] / r[theirs] for r in rounds)
        rows += [
            (stage, "FSDP2", ms(rounds, theirs), 1.0),
            (stage, "ours", ms(rounds, ours), ratio),
        ]
    record(
        "steps",
        kind="timing",
        seed=0,
        title="A step of a GPT of 0.8 million numbers on two ranks",
        prediction=(
            "Stage 2 at most 1.15 times FSDP2's: both sum a layer at a time, "
            "and ours has Python hooks where FSDP2 has them too."
        ),
        columns={"stage": "", "way": "", "ms": "ms", "ratio": ""},
        labels={"ms": "a step", "ratio": "times FSDP2's"},
        rows=rows,
    )


def ms(rounds, way):
    """The median of a way, in milliseconds."""
    return 1e3 * statistics.median(r[way] for r in rounds)
