"""The runs behind the laws: widths by rows read, and rows read again."""

import sys

from tests import contests
from tests.parallel.data_efficiency import judging

SEEDS = 0, 1, 2
WIDTHS = 16, 24, 32, 48
READ = 960, 1920, 3840, 7680  # rows of 64 tokens
RATES = 0.0025, 0.005, 0.01, 0.02
MIDDLE = 3840  # rows that a rate is chosen for
AGAIN, UNIQUE = 32, 960  # width and rows of the runs that read again
EPOCHS = 1, 2, 4, 8, 16


def rates():
    """The best rate of each width, by the text that no report uses."""
    every = {(w,): [(w, MIDDLE, 1)] for w in WIDTHS}
    return contests.tuned(judging.tried, every, RATES, better=min)


def losses(every):
    """{(width, unique, epochs): loss of each seed}."""
    best = rates()
    jobs = [(*one, best[one[:1]], seed) for one in every for seed in SEEDS]
    found = contests.runs(judging.learned, jobs)
    return {
        one: [found[*one, best[one[:1]], seed] for seed in SEEDS]
        for one in every
    }


def fresh():
    """Every width by every number of rows, each read once."""
    return losses([(w, n, 1) for n in READ for w in WIDTHS])


def repeated():
    """A few rows, read again and again."""
    return losses([(AGAIN, UNIQUE, e) for e in EPOCHS])


if __name__ == "__main__":
    for found in (fresh, repeated):
        print(found(), file=sys.stderr)
