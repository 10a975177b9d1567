"""Reports of several seeds, and what becomes of them in a table."""

import statistics

from tests import contests
from tests.diffusion.dalle2 import judging

SEEDS = (0, 1, 2)
NO_RANKING = "No ranking: "
ATTRIBUTES = judging.RIGHT[1:]


def spread_of(values):
    """Mean, least and most of some seeds."""
    return statistics.mean(values), min(values), max(values)


def mean(reports, at):
    """Mean over seeds of one number of each report."""
    return statistics.mean(one[at] for one in reports)


def reports(function, jobs):
    """{job without seed: what its seeds said}."""
    every = [(*job, seed) for job in jobs for seed in SEEDS]
    found = contests.runs(function, every)
    return {job: [found[*job, seed] for seed in SEEDS] for job in jobs}
