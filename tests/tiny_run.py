"""A model, a text and a run small enough for tests of the loop."""

from dataclasses import replace

import torch
from torch import nn

from llmnotes import data
from llmnotes.train import TrainConfig, train

VOCAB = 11
CONFIG = TrainConfig(
    steps=9,
    batch_size=6,
    block=5,
    learning_rate=0.01,
    warmup=3,
    min_learning_rate=0.001,
    eval_every=3,
    eval_batches=2,
)
LONG = replace(CONFIG, steps=120, eval_every=5)


def texts(length=400):
    ids = torch.arange(length) ** 2 % 7 + torch.arange(length) % 3
    return data.split(ids, 0.8)


def tiny(dropout=0.2, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Embedding(VOCAB, 8),
        nn.Dropout(dropout),
        nn.LayerNorm(8),
        nn.Linear(8, VOCAB),
    )


def go(out=None, config=CONFIG, model=None, **options):
    model = tiny() if model is None else model
    history = train(
        model, *texts(), config, out=out, progress=False, **options
    )
    return model, history


def told(history):
    """All of a history that does not depend on the clock."""
    rows = [
        (r.step, r.loss, r.validation_loss, r.learning_rate) for r in history
    ]
    return rows, history.final_loss


def same(left, right):
    (model, history), (other, others) = left, right
    weights = zip(model.parameters(), other.parameters(), strict=True)
    return told(history) == told(others) and all(
        torch.equal(a, b) for a, b in weights
    )
