"""Reading dates: five models of equal size, and one run of one of them."""

import functools

import torch

from llmnotes.sequence.gru import GRU
from llmnotes.sequence.seq2seq import (
    AdditiveAttention,
    BahdanauSeq2Seq,
    GeneralAttention,
    Seq2Seq,
    TwoWaySeq2Seq,
    fit,
)
from llmnotes.sequence.seq2seq import task as dates
from llmnotes.sequence.seq2seq.decoding import exact_match, greedy
from llmnotes.sequence.seq2seq.pairs import collate
from llmnotes.train_config import TrainConfig

STEPS, BATCH = 1500, 64
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
PARAMETERS = 64_000
CONTESTANTS = {
    "without attention": (Seq2Seq, None),
    "without, two ways": (TwoWaySeq2Seq, None),
    "Luong's": (Seq2Seq, GeneralAttention),
    "Luong's, two ways": (TwoWaySeq2Seq, GeneralAttention),
    "Bahdanau's": (BahdanauSeq2Seq, AdditiveAttention),
}
STARTS = dict.fromkeys(CONTESTANTS, "PyTorch's GRU, linear and embedding")


def build(name, width):
    model, attention = CONTESTANTS[name]
    vocabularies = len(dates.SOURCE), len(dates.TARGET)
    asks = attention(width) if attention else None
    return model(GRU, *vocabularies, width, asks)


def size(model):
    return sum(p.numel() for p in model.parameters())


@functools.cache
def width_of(name):
    """The even width with which a contestant comes nearest to the size."""
    with torch.device("meta"):
        return min(
            range(20, 140, 2),
            key=lambda w: abs(size(build(name, w)) - PARAMETERS),
        )


@functools.cache
def days(odd):
    """The days that no model learns from, in two halves, as a batch."""
    picked = [d for d in dates.days(held_out=True) if d.toordinal() % 2 == odd]
    pairs = []
    for i, day in enumerate(picked):
        ways = dates.ways_to_write(day)
        pairs.append((ways[i % len(ways)], day.isoformat()))
    return collate(pairs, dates.SOURCE, dates.TARGET)


def right(model, batch):
    """Share of days written right to the last character."""
    written = greedy(model, batch.source, batch.source_lengths, max_length=12)
    return exact_match(written, batch.target_out)


def reads(name, rate, seed):
    """Train once: the share that chooses, and the share reported."""
    width = width_of(name)
    torch.manual_seed(seed)
    model = build(name, width)
    config = TrainConfig(
        steps=STEPS, learning_rate=rate, min_learning_rate=rate / 20,
        weight_decay=0.0,
    )  # fmt: skip
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=config.betas, weight_decay=0.0, fused=True
    )
    fit(
        model,
        lambda step: dates.batch(BATCH, step + 2**32 * seed),
        config,
        optimizer=optimizer,
        progress=False,
    )
    return [right(model, days(odd)) for odd in (0, 1)]
