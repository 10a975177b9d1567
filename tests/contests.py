"""Fair races of trained models: many runs, each kept, none run twice.

job     = (contestant, …, rate, seed): what one run is, as plain values
tuned   = every contestant tried at the same rates with seeds of their own,
          judged on data that no report uses; the best rate is its own
kept    = build/races/: what a run returned, by the code it ran and its job
lost    = a run whose loss was no number: worse than any other

A run that was kept is not run again while nothing that its module depends on
has changed, so a race of hours can be stopped and goes on where it was.
"""

import functools
import hashlib
import importlib
import json
import math
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from llmnotes._site import closure

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "build" / "races"
TUNING = (100,)  # seeds of the runs that choose a rate
PROCESSES = max(1, (os.cpu_count() or 1) // 2)  # the rest stays yours


def runs(train, jobs, processes=PROCESSES):
    """Return {job: what train(*job) returned}; each job has a process."""
    found = {job: kept(train, job) for job in jobs}
    missing = [job for job, said in found.items() if said is None]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        given = pool.map(functools.partial(run, train), missing)
        for job, said in zip(missing, given, strict=True):
            found[job] = said
            print(*job, said, file=sys.stderr, flush=True)
    return found


def run(train, job):
    """Run one job on one thread and keep what it returns, as JSON."""
    torch.set_num_threads(1)
    try:
        said = train(*job)
    except RuntimeError as error:  # as `fit` says that a loss is no number
        said = {"lost": str(error)}
    path = home(train, job)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(said), "utf-8")
    part.replace(path)
    return json.loads(path.read_text("utf-8"))


def kept(train, job):
    """Return what a job returned before, or None."""
    path = home(train, job)
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def home(train, job):
    """Where a run is kept: by the code that it depends on, and its job."""
    name = f"{train.__module__}.{train.__qualname__}"
    text = f"{name} {sources(train.__module__)} {job}"
    return KEPT / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


@functools.cache
def sources(module):
    """A digest of all that a module's outcome depends on."""
    path = Path(importlib.import_module(module).__file__)
    return closure.fingerprint(path, ROOT)


def tuned(train, contestants, rates, better=max, seeds=TUNING):
    """Return {contestant: its best rate} by the first number of its runs.

    `contestants` is {contestant: beginnings of the jobs that it is judged
    by}. Among equals the rate nearest to the middle of the grid is kept.
    """
    found = runs(
        train,
        [
            (*begin, rate, seed)
            for begins in contestants.values()
            for begin in begins
            for rate in rates
            for seed in seeds
        ],
    )
    worst = -math.inf if better is max else math.inf

    def mean(contestant, rate):
        begins = contestants[contestant]
        said = [found[*b, rate, seed] for b in begins for seed in seeds]
        lost = any(isinstance(one, dict) for one in said)
        return worst if lost else statistics.mean(one[0] for one in said)

    middle = sorted(rates, key=lambda r: abs(rates.index(r) - len(rates) // 2))
    return {
        c: better(middle, key=functools.partial(mean, c)) for c in contestants
    }


def race(
    rates, best, starts, *, chosen_on, reported_on, baseline, column="model"
):
    """What a result says about its race; `best` is {contestant: rate}.

    A contestant is a tuple: its name, and what it was tuned for.
    """
    return {
        "column": column,
        "baseline": baseline,
        "chosen_on": chosen_on,
        "reported_on": reported_on,
        "starts": starts,
        "rates": {
            " · ".join(map(str, c)): {"tried": list(rates), "best": rate}
            for c, rate in best.items()
        },
    }
