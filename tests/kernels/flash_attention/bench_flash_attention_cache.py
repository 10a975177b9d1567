"""What compiled loops cost at their first call, and kept on disk."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

ROUNDS = 3
# Each in a process of its own: a call of loops that several chapters keep.
CALLS = {
    "flash attention": """
from llmnotes.kernels.flash_attention.cpu import flash_attention
x = torch.randn(1, 2, 70, 32, requires_grad=True)
go = lambda: flash_attention(x, x, x, causal=True).sum().backward()
""",
    "a fused GPT": """
from llmnotes.transformer.gpt import GPTConfig
from llmnotes.transformer.training_step import FusedGPT
model = FusedGPT(GPTConfig(11, 9, n_embd=12, n_layer=1, n_head=3))
ids = torch.arange(18).view(2, 9) % 11
go = lambda: model(ids).square().mean().backward()
""",
    "a fused LSTM": """
from llmnotes.sequence.lstm.by_hand import FusedLSTM
model = FusedLSTM(5, 7)
x = torch.randn(3, 4, 5)
go = lambda: model(x)[0].square().mean().backward()
""",
}
PROGRAM = """
import json, time
import torch
from llmnotes import compiled
torch.set_num_threads(1)
spent, stamp = [], compiled.stamp
def timed(*arguments):
    start = time.perf_counter()
    found = stamp(*arguments)
    spent.append(time.perf_counter() - start)
    return found
compiled.stamp = timed
{call}
times = []
for _ in range(3):
    start = time.perf_counter()
    go()
    times.append(time.perf_counter() - start)
print(json.dumps([times[0], min(times[1:]), sum(spent)]))
"""


def calls(call, folder):
    """Seconds of the first call, of a later one, and of the check."""
    env = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
    words = [sys.executable, "-c", PROGRAM.format(call=call)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env=env
    )
    return json.loads(done.stdout)


def size(folder: Path):
    """Bytes in all files below a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


@pytest.mark.timing
def bench_kept_loops(record, tmp_path, race):
    rows = []
    race({"nothing": lambda: None}, rounds=1)  # waits for a quiet machine
    for name, call in CALLS.items():
        cold, warm = [], []
        for turn in range(ROUNDS):
            folder = tmp_path / f"{name} {turn}"
            cold.append(calls(call, folder))
            warm.append(calls(call, folder))
        first, kept = (median(t[0] for t in ts) for ts in (cold, warm))
        later, check = (median(t[i] for t in warm) for i in (1, 2))
        rows.append((name, first, kept, later, check, size(folder)))
    record(
        "calls",
        kind="timing",
        seed=None,
        title="The first call of compiled loops, new and from disk",
        prediction=(
            "Compiling should take some ten seconds for flash attention and "
            "a few for the others; machine code from disk a hundredth of "
            "that. The check whether any source has changed reads a few "
            "files: some milliseconds, at the import."
        ),
        columns={
            "loops": "",
            "compiled": "s",
            "kept": "s",
            "later": "s",
            "check": "s",
            "bytes": "B",
        },
        labels={
            "compiled": "first call, compiled",
            "kept": "first call, from disk",
            "later": "a later call",
            "check": "check of the sources",
            "bytes": "on disk",
        },
        rows=rows,
    )
