"""How much memory a step of GPT-2 124M really takes."""

import subprocess
import sys

import pytest


@pytest.mark.timing
def bench_peak_of_a_step(record):
    """In a process of its own, whose memory nobody else has touched."""
    found = subprocess.run(
        [sys.executable, "-m", "tests.transformer.gpt2_by_hand.peak"],
        check=True,
        capture_output=True,
        text=True,
    )
    by_map, measured = map(int, found.stdout.split())
    assert abs(measured / by_map - 1) < 0.02
    record(
        "peak",
        kind="timing",
        title="Memory of a step of GPT-2 124M in serial loops",
        prediction="What the map says, within 2 %.",
        columns={"count": "", "size": "MB"},
        labels={"count": "counted"},
        rows=[
            ("by the map", by_map / 1e6),
            ("grown at the peak", measured / 1e6),
        ],
    )
