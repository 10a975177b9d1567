"""What the checkpointing chapter counts: bytes, deaths, causes, intervals."""

import statistics
from collections import Counter

import pytest
import torch

from llmnotes import checkpoint
from llmnotes.parallel.checkpointing import (
    MIXED,
    SINGLE,
    around_a_ring,
    best_interval,
    checkpoint_bytes,
    lost_exactly,
    lost_share,
    mean_between,
    one_after_another,
    pairwise,
    simulated,
)
from llmnotes.parallel.data_parallel import run
from tests.parallel.checkpointing import (
    causes,
    crashes,
    forgetting,
    ranked,
    small,
)

SEEDS = (0, 1, 2)
NO_RANKING = "No ranking: "
LLAMA_3 = mean_between(days=54, failures=419)  # seconds


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


LEFT_OUT = {
    "nothing": None,
    "moments": "moments",
    "scheduler": "scheduler",
    "random numbers": "generator",
    "position in the data": "examples",
    "all but the weights": "all",
}


def changes(folder, monkeypatch):
    """{what is left out: its losses, states and ids, by seed}."""
    found = {}
    with small.longer():
        for seed in SEEDS:
            monkeypatch.setattr(small, "SEED", seed)
            home = folder / str(seed)
            begun = forgetting.stopped(home, 60)
            for words, part in LEFT_OUT.items():
                found[words, seed] = forgetting.resumed(home, *begun, part)
    return found


@pytest.mark.trained
def bench_what_is_left_out(record, tmp_path, monkeypatch):
    found, rows = changes(tmp_path, monkeypatch), []
    for words in LEFT_OUT:
        first, moved, again = [], [], []
        for seed in SEEDS:
            read, losses, _ = found[words, seed]
            right = found["nothing", seed]
            pairs = zip(losses, right[1], strict=True)
            first += [next((i + 1 for i, (a, b) in enumerate(pairs)
                            if a != b), None)]  # fmt: skip
            moved += [statistics.mean(losses[60:])
                      - statistics.mean(right[1][60:])]  # fmt: skip
            seen = Counter(sum(read, []))
            expected = Counter(sum(right[0], []))
            again += [sum((seen - expected).values())]
        rows.append((words, first[0], statistics.mean(moved), min(moved),
                     max(moved), again[0]))  # fmt: skip
    record(
        "left_out",
        kind="trained",
        seeds=SEEDS,
        spread={"first": 0.5, "change": None, "lowest": None,
                "highest": None, "again": 0.5},
        example=NO_RANKING + "one run, stopped and resumed in six ways.",
        title="A run of 90 steps, stopped after 60 and resumed without",
        prediction="The loss jumps by a tenth or more for each state that is "
        "left out, and stays higher.",
        columns={"left_out": "", "first": "", "change": "", "lowest": "",
                 "highest": "", "again": ""},
        labels={
            "left_out": "left out",
            "first": "first step with another loss",
            "change": "change of the mean loss after it",
            "lowest": "lowest of three seeds",
            "highest": "highest",
            "again": "examples read too often",
        },
        rows=rows,
    )  # fmt: skip


def named(name):
    """A path's name on the page."""
    known = (".part", ".bin", ".json", "step-")
    return name if any(k in name for k in known) else "run"


def bench_every_moment_to_die(record, processes, tmp_path):
    asked = crashes.operations(processes, tmp_path / "asked")
    moments = [
        (victim, at + 1)
        for victim in (0, 1)
        for at in range(len(asked[victim]))
    ]
    folders = crashes.killed_folders(processes, tmp_path, moments)
    newest = [checkpoint.steps(folder)[-1] for folder in folders]
    told = run(ranked.go_on, 2, folders, processes=processes)
    assert told[0] == told[1]
    right = small.go(tmp_path / "whole")[2]
    groups = {}
    for (victim, at), step, end in zip(moments, newest, told[0], strict=True):
        operation, name = asked[victim][at - 1]
        key = victim, operation, named(name), step
        died, same = groups.get(key, (0, 0))
        groups[key] = died + 1, same + (end == right)
    record(
        "deaths",
        kind="exact",
        seed=0,
        title="Two ranks save step 9; one is killed before an operation",
        prediction="Until the rename the newest checkpoint is that of step "
        "6, from then on that of step 9; every run ends in the same bits.",
        columns=dict.fromkeys(
            ("rank", "operation", "name", "times", "newest", "same"), ""
        ),
        labels={
            "rank": "killed rank",
            "operation": "before it could",
            "name": "what",
            "times": "moments",
            "newest": "newest step then",
            "same": "ended in the same bits",
        },
        rows=[(rank, operation, name, died, step, same) for
              (rank, operation, name, step), (died, same) in groups.items()],
    )  # fmt: skip


def bench_bytes_that_are_read(record, processes, tmp_path):
    rows = []
    for ranks in (1, 2, 3, 4):
        folder = tmp_path / str(ranks)
        run(ranked.save_row, ranks, folder, 256, processes=processes)
    for readers in (1, 2, 3, 4):
        folders = [tmp_path / str(ranks) for ranks in (1, 2, 3, 4)]
        told = run(ranked.read_parts, readers, folders, processes=processes)
        for ranks, read in enumerate(zip(*told, strict=True), start=1):
            rows.append((ranks, readers, min(read), max(read), sum(read)))
    record(
        "read",
        kind="exact",
        seed=None,
        title="Bytes that a rank reads of 16,384, in blocks of 256",
        prediction="Each its share and at most two blocks more: 4,096 for "
        "each of four, whoever wrote them, unless a block lies across.",
        columns={"saved_by": "", "read_by": "", "least": "B", "most": "B",
                 "together": "B"},
        labels={"saved_by": "saved by", "read_by": "read by",
                "least": "a rank, least", "most": "most",
                "together": "all ranks"},
        rows=rows,
    )  # fmt: skip


def differing(a, b):
    """How many numbers differ, and by how much at most."""
    a, b = (torch.as_tensor(x) for x in (a, b))
    far = (a.double() - b.double()).abs().max()
    return a.numel(), int((a != b).sum()), float(far)


def causes_alone(processes):
    """{cause: numbers compared, how many differ, largest difference}."""
    rows = causes.drawn(8, 3000)
    summed = [way(rows) for way in (one_after_another, pairwise,
                                    around_a_ring)]  # fmt: skip
    ranks = [run(ranked.all_reduced, n, processes=processes)[0]
             for n in (2, 3)]  # fmt: skip
    order = [run(ranked.in_order, n, processes=processes)[0]
             for n in (2, 3)]  # fmt: skip
    threads = [torch.tensor([causes.sum_with(n)]) for n in (1, 2, 2)]
    atomic = [causes.atomic_sum() for _ in range(40)]
    torch.use_deterministic_algorithms(True)
    ordered = [causes.atomic_sum() for _ in range(40)]
    told = [torch.tensor([causes.sum_with(n)]) for n in (1, 2)]
    batch = causes.row_alone(), causes.row_among_others()
    torch.use_deterministic_algorithms(False)
    shuffles = [torch.tensor(causes.order(s)) for s in (None, None, 0, 0)]
    first = torch.full((40,), atomic[0]), torch.full((40,), ordered[0])
    return {
        "sum of 8 rows: a tree": differing(summed[0], summed[1]),
        "sum of 8 rows: a ring": differing(summed[0], summed[2]),
        "all-reduce: 3 ranks, not 2": differing(*ranks),
        "sum_in_order: 3 ranks, not 2": differing(*order),
        "2 threads, not 1": differing(*threads[:2]),
        "2 threads again": differing(*threads[1:]),
        "2 threads, not 1; deterministic": differing(*told),
        "a row in a batch of 300, not alone; deterministic": differing(*batch),
        "index_put_ on 2 threads, 40 times": differing(first[0], atomic),
        "the same; deterministic": differing(first[1], ordered),
        "shuffled, seed of the machine": differing(*shuffles[:2]),
        "shuffled, seed 0": differing(*shuffles[2:]),
    }


@pytest.mark.trained
def bench_causes(record, processes):
    record(
        "causes",
        kind="trained",
        seeds=SEEDS[:1],
        spread={"numbers": 0.5, "different": None, "largest": None},
        example=NO_RANKING + "causes, one at a time.",
        title="Twice the same computation in float32, but for one thing",
        prediction="All change bits but those that are repeated as they "
        "were; and `deterministic` helps index_put_ only.",
        columns={"cause": "", "numbers": "", "different": "", "largest": ""},
        labels={"cause": "what is another", "numbers": "numbers compared",
                "different": "of these differ",
                "largest": "largest difference"},
        rows=[(name, *found) for name, found in
              causes_alone(processes).items()],
    )  # fmt: skip


def bench_intervals(record):
    best, rows = best_interval(60, LLAMA_3), []
    for times in (0.25, 0.5, 1, 2, 4):
        interval = times * best
        lost = [simulated(interval, 60, LLAMA_3, 20_000, s) for s in SEEDS]
        rows.append((
            times, interval / 60, lost_share(interval, 60, LLAMA_3),
            lost_exactly(interval, 60, LLAMA_3), statistics.mean(lost),
            min(lost), max(lost),
        ))  # fmt: skip
    record(
        "intervals",
        kind="tolerance",
        tolerance=1e-9,
        seed=list(SEEDS)[0],
        title="A failure each 3.09 hours, 60 s for a checkpoint: time lost",
        prediction="A tenth is lost at Young's interval, and twice as much "
        "at four times it or at a quarter.",
        columns={"times": "", "minutes": "min", "young": "", "exact": "",
                 "simulated": "", "lowest": "", "highest": ""},
        labels={"times": "of Young's interval", "minutes": "interval",
                "young": "Young's formula", "exact": "exact",
                "simulated": "simulated", "lowest": "lowest of three",
                "highest": "highest"},
        rows=rows,
    )  # fmt: skip


def bench_costs(record):
    rows = []
    for cost in (60.0, 10.0, 1.0):
        best = best_interval(cost, LLAMA_3)
        rows.append((cost, best, lost_exactly(best, cost, LLAMA_3)))
    record(
        "costs",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="The best interval for a failure each 3.09 hours",
        prediction="Saving in the background, one second instead of 60, "
        "loses an eighth.",
        columns={"cost": "s", "best": "s", "lost": ""},
        labels={"cost": "training stands still", "best": "best interval",
                "lost": "time lost"},
        rows=rows,
    )  # fmt: skip


def bench_sizes(record):
    models = {
        "GPT-2 small": 124_439_808,
        "Llama 3 8B": 8_030_261_248,
        "Llama 3.1 405B": 405_853_388_800,
        "Megatron's largest": 1_008_000_000_000,
    }
    record(
        "sizes",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="A checkpoint of weights and Adam's moments",
        prediction="1.5 GB for GPT-2 small in float32; 14.1 TB for a "
        "trillion parameters in mixed precision.",
        columns={"model": "", "single": "GB", "mixed": "GB"},
        labels={"single": "float32, 12 B each",
                "mixed": "mixed, 14 B each"},
        rows=[
            (name, checkpoint_bytes(count, SINGLE) / 1e9,
             checkpoint_bytes(count, MIXED) / 1e9)
            for name, count in models.items()
        ],
    )  # fmt: skip
