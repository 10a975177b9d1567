"""What the Transformer chapter counts, computes, trains and times."""

import datetime
import functools
import statistics

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from llmnotes.sequence.seq2seq.pairs import PAD, collate
from llmnotes.sequence.seq2seq.task import SOURCE, ways_to_write
from llmnotes.train import update
from llmnotes.transformer.gpt import parameters
from llmnotes.transformer.transformer import (
    BASE,
    BIG,
    Transformer,
    TransformerConfig,
)
from llmnotes.transformer.transformer.alignment import alignment
from llmnotes.transformer.transformer.pre_norm import PreNormTransformer
from llmnotes.transformer.transformer.training import (
    adam,
    noam,
    smoothed_cross_entropy,
)
from tests.transformer.transformer.date_runs import (
    BATCH,
    Dates,
    UpAndDown,
    UpAndOn,
    batch_of,
    judged,
    matches,
    recurrent,
    seconds_per_step,
    steps_to,
    surprise,
    train,
    transformer,
)

SEED = 0
# Table 3 of the paper: row -> (what differs from base, millions printed).
PUBLISHED = {
    "base": ({}, 65),
    "d_k 16": ({"d_k": 16}, 58),
    "d_k 32": ({"d_k": 32}, 60),
    "2 layers": ({"layers": 2}, 36),
    "4 layers": ({"layers": 4}, 50),
    "8 layers": ({"layers": 8}, 80),
    "d_model 256": ({"d_model": 256}, 28),
    "d_model 1024": ({"d_model": 1024}, 168),
    "d_ff 1024": ({"d_ff": 1024}, 53),
    "d_ff 4096": ({"d_ff": 4096}, 90),
    "big": (vars(BIG), 213),
}


def bench_parameter_counts(record):
    rows = []
    for name, (change, printed) in PUBLISHED.items():
        shape = {**vars(BASE), "d_k": 64, **change}
        narrow = 64 - shape.pop("d_k")
        config = TransformerConfig(**shape)
        with torch.device("meta"):
            own = parameters(Transformer(config))
        # 18 attentions with 8 heads, each with a query and a key projection.
        own -= 18 * 8 * 2 * config.d_model * narrow
        rest = own - config.vocab_size * config.d_model
        low, high = (
            (printed * 10**6 + half - rest) / config.d_model
            for half in (-500_000, 500_000)
        )
        rows.append((name, f"{printed}M", own, -int(-low // 1), int(high)))
    record(
        "counts",
        kind="exact",
        title="Parameters by table 3 of the paper, and by the formula",
        prediction=(
            "Six layers of each kind hold 44.1 million numbers in base and "
            "176.3 in big; 37,000 embeddings add 18.9 and 37.9. That gives "
            "63.0 and 214.2, and the paper prints 65 and 213: two too few, "
            "one too many. If the vocabulary alone is to blame, one number "
            "of tokens should repair all rows."
        ),
        columns={
            "model": "",
            "paper": "",
            "own": "",
            "low": "",
            "high": "",
        },
        labels={
            "paper": "in the paper",
            "own": "counted with V = 37,000",
            "low": "smallest V that fits",
            "high": "largest V that fits",
        },
        rows=rows,
    )


class Products(TorchDispatchMode):
    """Counts the matrix products that PyTorch is asked for."""

    names = ("mm", "addmm", "bmm", "baddbmm")
    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.__name__.split(".")[0] in self.names
        return function(*args, **(kwargs or {}))


def bench_products_that_wait(record):
    rows = []
    for name, build in MODELS.items():
        model = build(SEED)
        for length in (1, 4, 16, 32, 64, 128, 256):
            with Products() as products:
                model.encode(torch.full((2, length), PAD + 3))
            rows.append((name, length, products.count))
    record(
        "products",
        kind="exact",
        title="Matrix products, one after the other, in reading a text",
        prediction=(
            "A recurrence multiplies the inputs of all positions at once and "
            "its state once per position: n + 1. A layer of the encoder has "
            "four projections, scores, weighted sum and two products of the "
            "feed-forward network: 8, whatever the length, so 16 in two."
        ),
        columns={"model": "", "length": "", "products": ""},
        labels={
            "length": "characters read",
            "products": "matrix products",
        },
        rows=rows,
    )


def bench_the_schedule(record):
    rows = []
    for name, d_model, warmup in (
        ("base", 512, 4000),
        ("base, 8,000 steps of warm-up", 512, 8000),
        ("big", 1024, 4000),
    ):
        for number in (1, *range(500, 20_001, 500)):
            rows.append((name, number, noam(number, d_model, warmup)))
    record(
        "schedule",
        kind="tolerance",
        tolerance=1e-12,
        title="Learning rate over the first 20,000 steps",
        prediction=(
            "Base peaks at 1/√(512·4000) = 6.99e-4 at step 4,000 and is back "
            "at half of it at 16,000. Twice the warm-up peaks later and lower"
            ", on the same falling curve. Twice the width is lower "
            "everywhere by √2."
        ),
        columns={"model": "", "step": "", "rate": ""},
        labels={"rate": "learning rate"},
        rows=rows,
    )


DEEP = TransformerConfig(
    len(SOURCE), d_model=32, heads=4, layers=6, d_ff=64, dropout=0.0
)
KINDS = {"post-norm": Transformer, "pre-norm": PreNormTransformer}


def bench_gradients_before_the_first_step(record, models=10):
    rows = []
    for name, cls in KINDS.items():
        sizes = []
        for seed in range(models):
            torch.manual_seed(seed)
            model = cls(DEEP)
            batch = batch_of(model, 32, seed)
            logits = model(batch.source, batch.target_in, batch.source_lengths)
            smoothed_cross_entropy(
                logits, batch.target_out, 0.0, PAD
            ).backward()
            layers = model.decoder.layers
            sizes.append([x.linear2.weight.grad.norm().item() for x in layers])
        for number, norms in enumerate(zip(*sizes, strict=True), start=1):
            rows.append((name, number, statistics.mean(norms)))
    record(
        "gradients",
        kind="tolerance",
        tolerance=1e-3,
        seed=SEED,
        title="Gradient of each decoder layer's last matrix, untrained",
        prediction=(
            "A norm divides what passes by the size of the sum it "
            "normalises. In post-norm every layer's sum passes the norm "
            "after it, and gradients shrink on their way down: largest at "
            "the last layer, perhaps by a half per layer. In pre-norm they "
            "pass the residual path untouched, and should be nearly alike, "
            "and smaller at the end, since the last norm divides by a sum "
            "of 18 sublayers."
        ),
        columns={"kind": "", "layer": "", "norm": ""},
        labels={
            "layer": "decoder layer",
            "norm": "norm of the gradient, mean of 10 models",
        },
        rows=rows,
    )


@pytest.mark.trained
def bench_warm_up(record, steps=150, peak=3e-3, window=15):
    torch.set_num_threads(1)
    rows = []
    for name, cls in KINDS.items():
        for warmup in (1, 100):
            torch.manual_seed(SEED)
            config = UpAndOn(
                steps=steps, learning_rate=peak, warmup=warmup, clip=0.0,
                eval_every=window,
            )  # fmt: skip
            history = train(cls(DEEP), config, size=32)
            words = "no warm-up" if warmup == 1 else f"{warmup} steps"
            rows += [(name, words, row.step, row.loss) for row in history]
            print(rows[-1], flush=True)
    record(
        "warm_up",
        kind="trained",
        example="one seed: what the first steps look like, no ranking",
        seeds=(SEED,),
        spread={"loss": 0.2},
        title=f"Loss over the first {steps} steps of a model 6 + 6 deep",
        prediction=(
            "At a constant rate of 0.003, post-norm without warm-up should "
            "stay near the loss of somebody who has not read the source, "
            "and learn with 100 steps of warm-up. Pre-norm should not need "
            "any, and without it be the quickest of the four."
        ),
        columns={"kind": "", "warmup": "", "step": "", "loss": "nat"},
        labels={"warmup": "warm-up", "loss": f"mean loss of {window} steps"},
        rows=[
            (kind, f"{kind}, {warmup}", *rest) for kind, warmup, *rest in rows
        ],
    )


MODELS = {"Transformer": transformer, "GRU with attention": recurrent}
STEPS = 600
PEAK = {"Transformer": 4e-3, "GRU with attention": 4e-3}


@functools.cache
def date_writer(name, seed, smoothing):
    """A trained model and its history."""
    torch.set_num_threads(1)
    model = MODELS[name](seed)
    config = UpAndDown(
        steps=STEPS, learning_rate=PEAK[name], warmup=100, eval_every=50
    )
    history = train(model, config, smoothing=smoothing)
    print(name, seed, smoothing, matches(history)[-1], flush=True)
    print(seconds_per_step(history), "s per step", flush=True)
    return model, history


@pytest.mark.trained
def bench_dates(record, seeds=(0, 1)):
    curves, rows = [], []
    for name in MODELS:
        runs = []
        for seed in seeds:
            model, history = date_writer(name, seed, 0.0)
            runs.append(matches(history))
            steps = steps_to(0.99, history)
            rows.append(
                (name, seed, parameters(model), steps, judged(model, 2000))
            )
        for points in zip(*runs, strict=True):
            mean = statistics.mean(match for _, match in points)
            curves.append((name, points[0][0], mean))
    record(
        "curves",
        kind="trained",
        example="two seeds at one rate, no ranking",
        seeds=seeds,
        spread={"match": 0.3},
        title="Unseen days written right, over the steps of training",
        prediction=(
            "Both can look anything up, so both should arrive. The "
            "Transformer has to learn from sinusoids what a recurrence "
            "knows by itself, which character comes next; so we expect it "
            "to need about as many steps, not fewer."
        ),
        columns={"model": "", "step": "", "match": ""},
        labels={"match": "exact match, mean of two seeds"},
        rows=curves,
    )
    record(
        "dates",
        kind="trained",
        example="two seeds at one rate, no ranking",
        seeds=seeds,
        spread={"steps": None, "match": 0.03},
        title=f"The date task at equal parameters, {STEPS} steps of {BATCH}",
        prediction=(
            "At least 99 % on 2,000 unseen days for both, in fewer than "
            f"{STEPS} steps."
        ),
        columns={
            "model": "",
            "seed": "",
            "parameters": "",
            "steps": "",
            "match": "",
        },
        labels={
            "steps": "steps to 99 % of 500 days",
            "match": "exact match at the end, 2,000 days",
        },
        rows=rows,
    )


@pytest.mark.trained
def bench_smoothing(record):
    rows = []
    for smoothing in (0.0, 0.1):
        model, _ = date_writer("Transformer", SEED, smoothing)
        rows.append((smoothing, judged(model, 2000), surprise(model, 2000)))
    record(
        "smoothing",
        kind="trained",
        example="one seed: what smoothing changes, no ranking",
        seeds=(SEED,),
        spread={"match": 0.02, "surprise": 0.02},
        title="The date task with and without label smoothing",
        prediction=(
            "The smoothed model is taught to give the right character "
            "1 - 0.1 + 0.1/49 = 0.902, so its surprise should be about "
            "-ln 0.902 = 0.103 nat; without smoothing it goes towards 0. "
            "The task has nothing uncertain in it, so exact match should "
            "gain nothing."
        ),
        columns={"smoothing": "", "match": "", "surprise": "nat"},
        labels={
            "smoothing": "ε",
            "match": "exact match, 2,000 unseen days",
            "surprise": "mean of −ln p of the right character",
        },
        rows=rows,
    )


@pytest.mark.trained
def bench_where_the_decoder_looks(record):
    model, _ = date_writer("Transformer", SEED, 0.0)
    day = datetime.date(2026, 3, 3)
    text, iso = ways_to_write(day)[0], day.isoformat()
    batch = collate([(text, iso)], SOURCE, SOURCE)
    layers = alignment(model, batch.source, batch.target_in)[:, 0].mean(1)
    rows = []
    for number, weights in enumerate(layers, start=1):
        for i, said in enumerate([*iso, "end"]):
            for j, read in enumerate(text):
                place = f"{j + 1} {'␣' if read == ' ' else read}"
                weight = round(weights[i, j].item(), 3)
                rows.append(
                    (f"layer {number}", f"{i + 1} {said}", place, weight)
                )
    record(
        "looks",
        kind="trained",
        example="where one model looks",
        seeds=(SEED,),
        spread={"weight": None},
        title=f"What is read (across) for what is written (down): {text!r}",
        prediction=(
            "Each digit of the year should take from the same digit of the "
            "source, the month from the letters that tell the months apart, "
            "the day from its digit: in the last layer at the latest."
        ),
        columns={"layer": "", "written": "", "read": "", "weight": ""},
        rows=rows,
    )


def stepper(build):
    """A function that trains one step on a batch made beforehand."""
    model, config = build(SEED), UpAndOn(learning_rate=1e-4, warmup=1)
    optimizer, task = adam(model), Dates(model, BATCH)
    batch = task.batch(SEED)
    return lambda: update(model, optimizer, task, batch, config, SEED)


@pytest.mark.timing
def bench_a_step(record, race):
    torch.set_num_threads(1)
    contestants = {name: stepper(build) for name, build in MODELS.items()}
    times = race(contestants, rounds=9, slice_s=0.5)
    base = statistics.median(times["GRU with attention"])
    record(
        "step",
        kind="timing",
        title=f"Time of one training step on {BATCH} dates, one thread",
        prediction=(
            "Both multiply about as much. The recurrence does it in some 40 "
            "small steps that wait for each other, the Transformer in four "
            "layers of large ones: we expect it to take two thirds of the "
            "time on one core, and would expect far less on a GPU."
        ),
        columns={"model": "", "seconds": "s", "ratio": ""},
        labels={"seconds": "median time", "ratio": "times the GRU's"},
        rows=[
            (name, statistics.median(t), statistics.median(t) / base)
            for name, t in times.items()
        ],
    )
