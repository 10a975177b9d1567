"""Models trained on the date task, step by step, and judged on the way."""

import time
from dataclasses import dataclass, field

import torch

from llmnotes.sequence.gru import GRU
from llmnotes.sequence.seq2seq import GeneralAttention, Seq2Seq
from llmnotes.sequence.seq2seq.decoding import exact_match, greedy
from llmnotes.sequence.seq2seq.pairs import PAD, collate
from llmnotes.sequence.seq2seq.task import SOURCE, TARGET, dates
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


def up_and_down(peak, steps, warmup=100):
    """A rate that rises for `warmup` steps and falls to 0 after `steps`."""

    def rate(step):
        left = (steps + 1 - step) / (steps + 1 - warmup)
        return peak * min(step / warmup, left)

    return rate


@dataclass
class History:
    """What was seen in training: [(step, exact match)], losses, seconds."""

    matches: list = field(default_factory=list)
    losses: list = field(default_factory=list)
    seconds: float = 0.0

    def steps_to(self, match):
        """The first step judged at least `match`, if any."""
        return next((s for s, m in self.matches if m >= match), None)


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


def step(model, optimizer, batch, rate, *, smoothing=0.0, clip=1.0):
    """One step of training; returns the loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    logits = model(batch.source, batch.target_in, batch.source_lengths)
    loss = smoothed_cross_entropy(logits, batch.target_out, smoothing, PAD)
    optimizer.zero_grad()
    loss.backward()
    if clip:
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item()


def train(model, rate, steps, *, size=BATCH, every=None, **options):
    """Adam with rate(step), steps from 1: the same loop for every model.

    Judging is not timed.
    """
    optimizer, history = adam(model), History()
    for number in range(1, steps + 1):
        start = time.perf_counter()
        batch = batch_of(model, size, number)
        loss = step(model, optimizer, batch, rate(number), **options)
        history.seconds += time.perf_counter() - start
        history.losses.append(loss)
        if every and (number % every == 0 or number == steps):
            history.matches.append((number, judged(model)))
            model.train()
    return history
