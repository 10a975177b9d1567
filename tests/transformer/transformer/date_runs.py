"""Models trained on the date task, step by step, and judged on the way."""

import functools
import statistics
from dataclasses import dataclass

import torch

from llmnotes.sequence.gru import GRU
from llmnotes.sequence.seq2seq import GeneralAttention, Seq2Seq
from llmnotes.sequence.seq2seq.decoding import exact_match, greedy
from llmnotes.sequence.seq2seq.pairs import PAD, collate
from llmnotes.sequence.seq2seq.task import SOURCE, TARGET, dates
from llmnotes.task import Task
from llmnotes.train import fit
from llmnotes.train_config import TrainConfig
from llmnotes.transformer.transformer import Transformer, TransformerConfig
from llmnotes.transformer.transformer.training import (
    adam,
    smoothed_cross_entropy,
)

LONGEST = 11  # ten characters of a date, and END
EVALUATION = 2**31  # seed of the pairs to judge on: no step's
BATCH = 64
WIDTH = 103  # of the recurrent model: as many parameters
SHAPE = TransformerConfig(
    len(SOURCE), d_model=64, heads=4, layers=2, d_ff=128, dropout=0.0
)


def transformer(seed):
    """Two layers each of width 64."""
    torch.manual_seed(seed)
    return Transformer(SHAPE)


def recurrent(seed):
    """GRUs and Luong's attention, of as many parameters."""
    torch.manual_seed(seed)
    attention = GeneralAttention(WIDTH)
    return Seq2Seq(GRU, len(SOURCE), len(TARGET), WIDTH, attention)


def batch_of(model, n, seed, held_out=False):
    """A Transformer has one vocabulary for both texts, a Seq2Seq two."""
    one = isinstance(model, Transformer)
    pairs = dates(n, seed, held_out=held_out)
    return collate(pairs, SOURCE, SOURCE if one else TARGET)


@dataclass(frozen=True)
class UpAndDown(TrainConfig):
    """A rate that rises for `warmup` steps and falls to 0 after the last."""

    def rate(self, step):
        number = step + 1
        left = (self.steps + 1 - number) / (self.steps + 1 - self.warmup)
        return self.learning_rate * min(number / self.warmup, left)


@dataclass(frozen=True)
class UpAndOn(TrainConfig):
    """A rate that rises for `warmup` steps and stays."""

    def rate(self, step):
        return self.learning_rate * min(1, (step + 1) / self.warmup)


def judged(model, n=500):
    """Share of unseen days that are written right to the last character."""
    batch = batch_of(model, n, EVALUATION, held_out=True)
    out = greedy(model, batch.source, batch.source_lengths, max_length=LONGEST)
    return exact_match(out, batch.target_out)


@torch.no_grad()
def surprise(model, n=500):
    """Mean -ln p of the right characters of unseen days."""
    batch = batch_of(model, n, EVALUATION, held_out=True)
    model.eval()
    logits = model(batch.source, batch.target_in, batch.source_lengths)
    return smoothed_cross_entropy(logits, batch.target_out, 0.0, PAD).item()


class Dates(Task):
    """Write dates as ISO 8601; judged by the share of days written wrong."""

    def __init__(self, model, size, smoothing=0.0):
        self.batch_of = functools.partial(batch_of, model, size)
        self.smoothing = smoothing

    def batch(self, step):
        """`size` pairs; their seeds begin at 1."""
        return self.batch_of(step + 1)

    def loss(self, model, batch):
        """Mean loss per character of the target; padding does not count."""
        logits = model(batch.source, batch.target_in, batch.source_lengths)
        return smoothed_cross_entropy(
            logits, batch.target_out, self.smoothing, PAD
        )

    def evaluate(self, model):
        """Share of 500 unseen days that are not written right."""
        return 1 - judged(model)


def train(model, config, size=BATCH, smoothing=0.0):
    """Adam as in the paper: the same for every model."""
    task = Dates(model, size, smoothing)
    return fit(model, task, config, optimizer=adam(model), progress=False)


def seconds_per_step(history):
    """Time of a step in training; judging is not timed."""
    return statistics.mean(1 / row.tokens_per_second for row in history)


def matches(history):
    """[(step, exact match)]."""
    return [(row.step, 1 - row.validation_loss) for row in history]


def steps_to(match, history):
    """The first step judged at least `match`, if any."""
    return next((s for s, m in matches(history) if m >= match), None)
