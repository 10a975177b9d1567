"""What the sequence-to-sequence chapter measures: length, dates, search."""

import datetime
import functools
import random
import statistics

import pytest
import torch

from llmnotes.sequence.gru import GRU
from llmnotes.sequence.rnn import RNN
from llmnotes.sequence.seq2seq import (
    AdditiveAttention,
    BahdanauSeq2Seq,
    DotAttention,
    GeneralAttention,
    Seq2Seq,
    fit,
)
from llmnotes.sequence.seq2seq import task as dates
from llmnotes.sequence.seq2seq.decoding import beam_search, exact_match, greedy
from llmnotes.sequence.seq2seq.pairs import (
    END,
    PAD,
    SPECIAL,
    collate,
    reversal,
)
from llmnotes.train_config import TrainConfig
from tests import contests
from tests.sequence.seq2seq import dates_race
from tests.sequence.seq2seq.dates_race import (
    BATCH,
    CONTESTANTS,
    STARTS,
    STEPS,
    reads,
    width_of,
)

SEED, SEEDS = 0, (0, 1, 2)
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # of the dates
LONGEST = 20  # of the reversals that are learned from
TEST = 10**6  # seeds from here on are never trained on
RECIPE = {
    "learning_rate": 3e-3,
    "min_learning_rate": 1.5e-4,
    "weight_decay": 0.0,
}


def without(width):
    return lambda a, b: Seq2Seq(GRU, a, b, width)


def luong(width):
    return lambda a, b: Seq2Seq(GRU, a, b, width, GeneralAttention(width))


def bahdanau(width):
    return lambda a, b: BahdanauSeq2Seq(
        GRU, a, b, width, AdditiveAttention(width)
    )


# Widths that give nearly equal numbers of parameters.
DATE_MODELS = {
    "without attention": without(72),
    "Luong's attention": luong(64),
    "Bahdanau's attention": bahdanau(60),
}
REVERSAL_MODELS = {
    "without attention, 64 wide": without(64),
    "without attention, 128 wide": without(128),
    "Luong's attention, 64 wide": luong(64),
}


def count(model):
    return sum(p.numel() for p in model.parameters())


def mixed_lengths(step):
    """Reversals of one length per step, drawn evenly from 1 to LONGEST."""
    length = random.Random(step).randint(1, LONGEST)
    return reversal(length, 64, seed=step)


def learn(model, batch_at, config):
    """Train with Adam; the gradient's norm adds up in the model's order."""
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=config.betas, weight_decay=0.0, fused=True
    )
    fit(model, batch_at, config, optimizer=optimizer)


@functools.cache
def reverser(name):
    torch.manual_seed(SEED)
    vocab = SPECIAL + 8
    model = REVERSAL_MODELS[name](vocab, vocab)
    learn(model, mixed_lengths, TrainConfig(steps=2000, **RECIPE))
    return model


@functools.cache
def date_reader(name):
    torch.manual_seed(SEED)
    model = DATE_MODELS[name](len(dates.SOURCE), len(dates.TARGET))
    config = TrainConfig(steps=1500, **RECIPE)
    learn(model, lambda step: dates.batch(64, step), config)
    return model


@pytest.mark.trained
def bench_one_vector_is_too_small(record):
    rows = []
    for name in REVERSAL_MODELS:
        model = reverser(name)
        for length in range(2, 29, 2):
            test = reversal(length, 200, seed=TEST + length)
            written = greedy(model, test.source, max_length=length + 1)
            exact = exact_match(written, test.target_out)
            rows.append((name, count(model), length, exact))
    record(
        "length",
        kind="trained",
        example="one seed at one rate: where each begins to fail, no ranking",
        seeds=(SEED,),
        spread={"exact": 0.2},
        title="Sequences of 8 symbols written backwards without a mistake",
        prediction=(
            "A symbol is 3 bits. Nothing forbids 64 numbers to hold 20 of "
            "them, but finding such a code by gradient is another matter: "
            "without attention we expect the model to fall below 90 % near "
            "length 8, and twice the width to move that to about 12. With "
            "attention all trained lengths, up to 20, should stay above "
            "90 %. Beyond 20 we expect all to fail, attention a little later."
        ),
        columns={"model": "", "parameters": "", "length": "", "exact": ""},
        labels={
            "length": "symbols in the sequence",
            "exact": "share without a mistake",
        },
        rows=rows,
    )


@pytest.mark.trained
def bench_dates(record):
    best = contests.tuned(reads, {(n,): [(n,)] for n in CONTESTANTS}, RATES)
    jobs = {n: [(n, best[n,], seed) for seed in SEEDS] for n in CONTESTANTS}
    found = contests.runs(reads, sum(jobs.values(), []))
    rows = []
    for name in CONTESTANTS:
        runs = zip(*(found[job] for job in jobs[name]), strict=True)
        _, dates_right, tokens, beam = runs
        size = dates_race.size(dates_race.build(name, width_of(name)))
        rows.append(
            (
                *(name, size, best[name,], statistics.mean(tokens)),
                *(statistics.mean(dates_right), min(dates_right)),
                *(max(dates_right), statistics.mean(beam)),
            )
        )
    record(
        "dates",
        kind="trained",
        seeds=SEEDS,
        spread={
            "rate": None, "tokens": 0.03, "greedy": 0.1, "lowest": None,
            "highest": None, "beam": 0.1,
        },
        race=contests.race(
            RATES,
            best,
            STARTS,
            baseline="without attention",
            chosen_on="one half of the held-out days, seed 100",
            reported_on="the other half, seeds 0 to 2",
        ),
        title=f"Held-out days after {STEPS:,} steps of {BATCH} dates",
        prediction=(
            "In the first edition one rate and one seed gave 24 % without "
            "attention, 97 % with Luong's and 100 % with Bahdanau's, whose "
            "encoder alone read both ways. With a rate of its own each "
            "should gain; read both ways, Luong's should tie with "
            "Bahdanau's, and the model without attention should gain "
            "little, because its trouble is the one vector."
        ),
        columns={
            "model": "", "parameters": "", "rate": "", "tokens": "",
            "greedy": "", "lowest": "", "highest": "", "beam": "",
        },
        labels={
            "rate": "best rate",
            "tokens": "tokens right, all before given",
            "greedy": "whole dates right, greedy",
            "lowest": "worst seed",
            "highest": "best seed",
            "beam": "first 400 right, beam of 4",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_answers(record):
    """Days that the model without attention gets wrong, and what it says."""
    test = dates.batch(1000, TEST, held_out=True)
    written = {
        name: greedy(
            date_reader(name), test.source, test.source_lengths, max_length=12
        )
        for name in DATE_MODELS
    }
    first = written["without attention"]
    wrong = (first != test.target_out).any(1).nonzero().flatten()
    rows = [
        (
            dates.SOURCE.decode(test.source[i]),
            *(dates.TARGET.decode(w[i]) for w in written.values()),
        )
        for i in wrong[:6].tolist()
    ]
    record(
        "answers",
        kind="trained",
        example="what one model of each kind writes",
        seeds=(SEED,),
        spread={
            "source": None,
            "without": None,
            "luong": None,
            "bahdanau": None,
        },
        title="The first held-out days that go wrong without attention",
        prediction=(
            "The mistakes should be in the last digits of the year and in "
            "the day, which take many values and none of which can be "
            "guessed from the others; the form should always be right."
        ),
        columns={"source": "", "without": "", "luong": "", "bahdanau": ""},
        labels={
            "without": "without attention",
            "luong": "Luong's",
            "bahdanau": "Bahdanau's",
        },
        rows=rows,
    )


@pytest.mark.trained
def bench_where_it_looks(record):
    day = datetime.date(2026, 3, 3)
    text = dates.ways_to_write(day)[0]
    batch = collate([(text, day.isoformat())], dates.SOURCE, dates.TARGET)
    rows = []
    for name in ("Luong's attention", "Bahdanau's attention"):
        weights = date_reader(name).alignment(batch.source, batch.target_in)[0]
        for i, said in enumerate([*day.isoformat(), "end"]):
            for j, read in enumerate(text):
                place = f"{j + 1} {'␣' if read == ' ' else read}"
                weight = round(weights[i, j].item(), 4)
                rows.append((name, f"{i + 1} {said}", place, weight))
    record(
        "alignment",
        kind="trained",
        example="where one model of each kind looks",
        seeds=(SEED,),
        spread={"weight": None},
        title=f"What is read (across) for what is written (down): {text!r}",
        prediction=(
            "The four digits of the year should look at the end of the "
            "text, the two of the month at its first letters, those of the "
            "day at the 3. The hyphens need nothing and may look anywhere. "
            "Nothing should look at Tuesday."
        ),
        columns={"model": "", "written": "", "read": "", "weight": ""},
        rows=rows,
    )


def sure_models(seeds):
    """Untrained models with sharpened heads: sure of themselves, and odd."""
    for seed in seeds:
        torch.manual_seed(seed)
        model = Seq2Seq(RNN, 9, SPECIAL + 3, 8, DotAttention()).double()
        with torch.no_grad():
            model.head.weight.mul_(6)
        yield model, torch.randint(SPECIAL, 9, (20, 6))


def bench_how_wide_a_beam_must_be(record):
    everything = sum(3**n for n in range(5)) + 3**5
    found, above = {}, {}
    for model, source in sure_models(range(5)):
        search = functools.partial(beam_search, model, source, max_length=5)
        best = search(beam=everything).scores[:, 0]
        for beam in (1, 2, 4, 8, 16, 32):
            got = search(beam=beam).scores[:, 0]
            found.setdefault(beam, []).append((got >= best - 1e-9).double())
            above.setdefault(beam, []).append(best - got)
    record(
        "search",
        kind="tolerance",
        tolerance=0.02,
        seed=SEED,
        title=f"Beam search against all {everything:,} sequences",
        prediction=(
            "Greedy search should miss the best sequence often, in about "
            "half of the cases; each doubling of the beam should halve what "
            "is missed, so that a beam of 8 misses less than one in ten."
        ),
        columns={"beam": "", "found": "", "missing": "nat"},
        labels={
            "beam": "beam",
            "found": "share in which the best is found",
            "missing": "mean log-probability that is missing",
        },
        rows=[
            (
                beam,
                torch.cat(found[beam]).mean().item(),
                torch.cat(above[beam]).mean().item(),
            )
            for beam in found
        ],
    )


@pytest.mark.trained
def bench_stopping_early(record):
    """What beam search does to a model that is not sure of itself."""
    model, rows = reverser("without attention, 64 wide"), []
    test = reversal(16, 200, seed=TEST + 16)
    for beam in (1, 4, 16):
        for alpha in (0.0, 1.0):
            got = beam_search(
                model, test.source, beam=beam, max_length=20, alpha=alpha
            )
            best = got.tokens[:, 0]
            length = (best >= SPECIAL).sum(1).double().mean().item()
            ended = (best == END).any(1).double().mean().item()
            total = got.scores[:, 0] * ((best != PAD).sum(1) ** alpha)
            rows.append((beam, alpha, length, ended, total.mean().item()))
    record(
        "beams",
        kind="trained",
        example="what a beam does to one unsure model",
        seeds=(SEED,),
        spread={"length": 2.0, "ended": 0.2, "score": 3.0},
        title="Beams over 16 symbols, for a model without attention",
        prediction=(
            "The sum of log-probabilities falls with every token, so a wide "
            "beam should find shorter sequences than greedy search does, "
            "and dividing by the length should undo that."
        ),
        columns={
            "beam": "",
            "alpha": "",
            "length": "",
            "ended": "",
            "score": "nat",
        },
        labels={
            "alpha": "α",
            "length": "symbols written, mean",
            "ended": "share that ends",
            "score": "log-probability, mean",
        },
        rows=rows,
    )
