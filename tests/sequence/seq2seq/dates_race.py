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
from llmnotes.sequence.seq2seq.decoding import (
    beam_search,
    exact_match,
    greedy,
)
from llmnotes.sequence.seq2seq.pairs import PAD, collate
from llmnotes.train_config import TrainConfig

STEPS, BATCH = 1500, 64
PARAMETERS = 64_000
CONTESTANTS = {
    "without attention": (Seq2Seq, None),
    "two ways without attention": (TwoWaySeq2Seq, None),
    "Luong's attention": (Seq2Seq, GeneralAttention),
    "two ways with Luong's": (TwoWaySeq2Seq, GeneralAttention),
    "Bahdanau's attention": (BahdanauSeq2Seq, AdditiveAttention),
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


def right_by_beam(model, batch, rows=400):
    """The same for the first rows, by a beam of 4."""
    source, lengths = batch.source[:rows], batch.source_lengths[:rows]
    found = beam_search(model, source, lengths, beam=4, max_length=12)
    return exact_match(found.tokens[:, 0], batch.target_out[:rows])


def token_accuracy(model, batch):
    """Share of tokens that are right when all before are given."""
    with torch.no_grad():
        logits = model(batch.source, batch.target_in, batch.source_lengths)
    real = batch.target_out != PAD
    hits = logits.argmax(-1) == batch.target_out
    return hits[real].double().mean().item()


def reads(name, rate, seed):
    """Train once: the share that chooses; then dates, tokens, beam of 4."""
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
    data = functools.partial(drawn, seed)
    fit(model, data, config, optimizer=optimizer, progress=False)
    other = days(odd=0)
    return [
        right(model, days(odd=1)),
        right(model, other),
        token_accuracy(model, other),
        right_by_beam(model, other),
    ]


def drawn(seed, step):
    """What a run with this seed learns from at a step."""
    return dates.batch(BATCH, step + 2**32 * seed)
