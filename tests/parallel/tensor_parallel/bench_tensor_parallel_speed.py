"""What two ranks gain on an MLP, beside one and beside PyTorch's DTensor."""

import statistics

import pytest

from llmnotes.parallel.data_parallel import run
from tests.conftest import wait_until_quiet
from tests.parallel.tensor_parallel import timed

pytestmark = pytest.mark.timing
ROUNDS = 30


def bench_an_mlp(record, processes):
    wait_until_quiet()
    spent = run(timed.interleaved, 2, 2, ROUNDS, processes=processes)[0]
    seconds = {name: statistics.median(x) for name, x in spent.items()}
    words = {
        "dense": "both ranks compute all of it",
        "ours": "split over two ranks",
        "DTensor": "split by PyTorch's DTensor",
    }
    record(
        "mlp",
        kind="timing",
        seed=0,
        title=f"An MLP of width {timed.WIDTH} on {timed.BATCH} texts of "
        f"{timed.LENGTH} tokens, forward and back, one thread a rank",
        prediction="Two ranks take less than 0.65 of the time, ours no more "
        "than 1.1 times DTensor's.",
        columns={"way": "", "seconds": "s", "share": ""},
        labels={"share": "of the whole one's time"},
        rows=[
            (words[name], s, s / seconds["dense"])
            for name, s in seconds.items()
        ],
    )
