"""Which contestant is best at its own rate, by three seeds."""

import sys

from tests import contests
from tests.parallel.data_efficiency import choices

SEEDS = 0, 1, 2
RATES = 0.0025, 0.005, 0.01, 0.02
FILTERS = "best", "random"
ORDERS = "short first", "mixed", "long first"


def told(tried, reported, ways):
    """{way: its rate}, and {way: what each of its seeds said}."""
    every = {(way,): [(way,)] for way in ways}
    best = contests.tuned(tried, every, RATES, better=min)
    jobs = [(way, best[way,], seed) for way in ways for seed in SEEDS]
    found = contests.runs(reported, jobs)
    said = {w: [found[w, best[w,], s] for s in SEEDS] for w in ways}
    return best, said


def filters():
    """Paragraphs that a score keeps against as many of any kind."""
    return told(choices.filter_tried, choices.filtered, FILTERS)


def orders():
    """Speeches by length against speeches as they come."""
    return told(choices.order_tried, choices.ordered, ORDERS)


if __name__ == "__main__":
    for found in (filters, orders):
        print(found(), file=sys.stderr)
