"""From RNN to Transformer: one task, five models of equal size."""

import functools
import statistics

import pytest
import torch
import torch.nn.functional as F

from llmnotes.sequence import seq2seq
from llmnotes.sequence.lstm import LSTM
from llmnotes.sequence.lstm.by_hand import FusedLSTM
from llmnotes.sequence.seq2seq.pairs import reversal
from tests import contests
from tests.transformer.transformer.reversal_race import (
    ATTENTION,
    BATCH,
    LENGTHS,
    MODELS,
    STARTS,
    SYMBOLS,
    as_it_comes,
    batch_at,
    learns,
    model_of,
    size,
)

SEED, SEEDS = 0, (0, 1, 2)
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


@pytest.mark.trained
def bench_accuracy_against_length(record):
    names = [(name, length) for name in MODELS for length in LENGTHS]
    best = contests.tuned(learns, {who: [who] for who in names}, RATES)
    jobs = {
        who: [(*who, rate, seed) for seed in SEEDS]
        for who, rate in best.items()
    }
    found = contests.runs(learns, sum(jobs.values(), []))
    rows = []
    for (name, length), runs in jobs.items():
        right = [found[job][1] for job in runs]
        rows.append(
            (
                *(name, size(model_of(name)), length, best[name, length]),
                *(statistics.mean(right), min(right), max(right)),
            )
        )
    record(
        "accuracy",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "right": 0.15, "lowest": None, "highest": None},
        race=contests.race(
            RATES,
            {(n, f"{k} letters"): rate for (n, k), rate in best.items()},
            STARTS,
            baseline=ATTENTION,
            chosen_on="200 rows of each length, seed 100",
            reported_on="1,000 other rows, seeds 0 to 2",
        ),
        title="Writing a sequence backwards: five models of equal size",
        prediction=(
            "The first edition tried two rates, both too low, with one "
            "seed, and started the RNN and the LSTM badly. With six rates "
            "and better starts we expect RNN, LSTM and GRU without attention "
            "to write ten letters rightly and to fall between ten and forty, "
            "the LSTM last; the two that look back stay at 1 up to forty."
        ),
        columns={
            "model": "", "parameters": "", "length": "", "rate": "",
            "right": "", "lowest": "", "highest": "",
        },
        labels={
            "right": f"symbols right, mean of {len(SEEDS)} seeds",
            "rate": "best rate",
            "lowest": "worst seed",
            "highest": "best seed",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.timing
def bench_time_of_a_step(record, race):
    torch.set_num_threads(1)
    contestants = {
        (name, length): functools.partial(
            gradient, as_it_comes(name), batch_at(length, SEED, 0)
        )
        for name in MODELS
        for length in LENGTHS
    }
    times = race(contestants, rounds=5)
    rows = [(*key, sorted(t)[len(t) // 2]) for key, t in times.items()]
    record(
        "time",
        kind="timing",
        seed=SEED,
        title=f"Forward and backward of {BATCH} sequences, one thread",
        prediction=(
            "The recurrent models are in proportion to the length. The "
            "Transformer has a fixed part of some 5 ms, then the same "
            "arithmetic in few large pieces, so it should be several times "
            "faster at 80, where its square is still small."
        ),
        columns={"model": "", "length": "", "seconds": "s"},
        rows=rows,
    )


def gradient(model, batch):
    model.zero_grad()
    seq2seq.loss(model, batch).backward()


def reach(model, length):
    """Gradient of each answer by the symbol it asks for, by their distance.

    Symbol n-1-k is read n-1-k steps after the first, and answered by output
    k: in a recurrence they are 2k + 1 steps apart.
    """
    batch, kept = reversal(length, 16, SEED, SYMBOLS), []
    table = getattr(model, "source_embedding", None) or model.embedding
    hook = table.register_forward_hook(lambda *call: kept.append(call[-1]))
    logits = model(batch.source, batch.target_in).transpose(1, 2)
    hook.remove()
    losses = F.cross_entropy(logits, batch.target_out, reduction="none")
    for k in range(0, length, 2):
        (slope,) = torch.autograd.grad(
            losses[:, k].sum(), kept[0], retain_graph=True
        )
        norm = slope[:, length - 1 - k].norm(dim=-1).mean()
        yield 2 * k + 1, norm.item()


def slow(model):
    """The model in float64; the compiled LSTM has float32 alone."""
    for name in ("encoder", "decoder"):
        cell = getattr(model, name)
        if isinstance(cell, FusedLSTM):
            plain = LSTM(cell.input_size, cell.hidden_size)
            plain.load_state_dict(cell.state_dict())
            setattr(model, name, plain)
    return model.double()


def bench_how_far_gradients_reach(record, length=40):
    rows = []
    for name in MODELS:
        points = list(reach(slow(as_it_comes(name)), length))
        first = points[0][1]
        rows += [(name, distance, g / first) for distance, g in points]
    record(
        "reach",
        kind="tolerance",
        tolerance=1e-3,
        seed=SEED,
        title="Gradient that reaches the symbol asked for, before training",
        prediction=(
            "At the usual start a recurrence shrinks what passes by a factor "
            "of about 0.6 (RNN) to 0.8 (gates half open) per step, so after "
            "80 steps nothing is left. Attention has a path of length one "
            "from every answer to every symbol: flat."
        ),
        columns={"model": "", "distance": "", "gradient": ""},
        labels={
            "distance": "steps between symbol and answer",
            "gradient": "gradient, of that at distance 1",
        },
        rows=rows,
    )
