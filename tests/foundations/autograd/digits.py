"""The race of the digits: what is a hidden layer worth, each at its best rate?

chosen   = 360 digits that no split tests; a rate is judged by them alone
split    = 360 others, drawn by the seed, to be tested; all the rest is
           learned from, the chosen ones too
"""

import numpy as np

from llmnotes.foundations.autograd.mlp import accuracy, initialise, train
from llmnotes.pictures import images
from tests import contests

HIDDEN = ("none", "32", "256")
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
TUNING, SPLITS = (100, 101, 102), tuple(range(10))
PART = 360  # a fifth of the 1,797 digits


def parts(seed):
    """Places of the digits to learn from and of those to be judged by."""
    order = np.random.default_rng(2026).permutation(1797)
    chosen, others = order[:PART], order[PART:]
    others = np.random.default_rng(seed).permutation(others)
    test, rest = others[:PART], others[PART:]
    if seed in TUNING:
        return rest, chosen
    return np.concatenate([rest, chosen]), test


def learned(hidden, rate, seed):
    """Shares read rightly by one network: judged by, and learned from."""
    x, labels = images("digits")
    x = x.reshape(len(x), -1)
    rest, judged = parts(seed)
    widths = (64, 10) if hidden == "none" else (64, int(hidden), 10)
    rng = np.random.default_rng(seed)
    network = initialise(widths, rng)
    options = {"learning_rate": rate, "progress": False}
    train(network, x[rest], labels[rest], rng, **options)
    return [
        accuracy(network, x[part], labels[part]) for part in (judged, rest)
    ]


def nearest(seed):
    """How many the nearest of the digits learned from reads rightly."""
    x, labels = images("digits")
    x = x.reshape(len(x), -1).astype(float)
    rest, test = parts(seed)
    far = (x[rest] ** 2).sum(1) - 2 * x[test] @ x[rest].T  # + what all share
    return int((labels[rest][far.argmin(1)] == labels[test]).sum())


def race():
    """{network: its best rate}, and {(network, rate, split): its shares}."""
    contestants = {(hidden,): [(hidden,)] for hidden in HIDDEN}
    best = contests.tuned(learned, contestants, RATES, seeds=TUNING)
    jobs = [(*who, rate, s) for who, rate in best.items() for s in SPLITS]
    return best, contests.runs(learned, jobs)
