"""What the positions chapter measures: blindness, waves, biases, length."""

import functools
from itertools import product

import pytest
import torch

from llmnotes.transformer.attention import (
    MultiHeadAttention,
    causal_mask,
    masked_softmax,
)
from llmnotes.transformer.positions import (
    LearnedPositions,
    RelativeBias,
    alibi_bias,
    frequencies,
    lag_buckets,
    sinusoidal,
    wavelengths,
)
from tests.transformer.positions.tiny_decoder import (
    Alibi,
    Decoder,
    Learned,
    Relative,
    Scheme,
    Sinusoidal,
    Windowed,
    corpus,
    fit,
    loss_by_position,
    one_thread,
)

SEED = 0


def last_output(x, scheme, layers, causal):
    """What two residual attentions answer at the last position."""
    torch.manual_seed(SEED)
    length, d_model = x.shape[-2:]
    blocks = [MultiHeadAttention(d_model, 4).double() for _ in range(layers)]
    learned = LearnedPositions(length, d_model).double()
    learned.table.weight.data *= 50  # standard deviation 1, as of x
    relative = RelativeBias(4, 8, 16).double()
    if scheme == "learned":
        x = learned(x)
    if scheme == "sinusoidal":
        x = x + sinusoidal(length, d_model, dtype=x.dtype)
    mask = {
        "relative bias": relative(length, length),
        "ALiBi": alibi_bias(4, length).double(),
    }.get(scheme)
    for block in blocks:
        x = x + block(x, mask=mask, causal=causal)
    return x[0, -1]


def bench_without_positions_order_is_invisible(record):
    torch.manual_seed(SEED)
    x = torch.randn(1, 12, 32, dtype=torch.float64)
    order = torch.cat([torch.randperm(11), torch.tensor([11])])
    schemes = ("none", "learned", "sinusoidal", "relative bias", "ALiBi")
    rows = []
    for mask, layers, scheme in product(("none", "causal"), (1, 2), schemes):
        before, after = (
            last_output(y, scheme, layers, mask == "causal")
            for y in (x, x[:, order])
        )
        change = 100 * ((after - before).norm() / before.norm()).item()
        rows.append((scheme, mask, layers, round(change, 7)))
    record(
        "blindness",
        kind="tolerance",
        tolerance=1e-4,
        seed=SEED,
        title="Change of the last token's output when the others are shuffled",
        prediction=(
            "Without positions and without a mask: exactly none, at any "
            "depth, because a sum does not care about order. With a causal "
            "mask still none after one layer, since the last token sees the "
            "same set; but a second layer reads tokens that each saw a "
            "different past, so some. With any positions: some."
        ),
        columns={"scheme": "", "mask": "", "layers": "", "change": "%"},
        labels={
            "scheme": "positions",
            "change": "change of the last token's output",
        },
        rows=rows,
    )


def bench_waves(record):
    encoding = sinusoidal(24, 16, dtype=torch.float64)
    record(
        "waves",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="Sinusoidal encoding of 24 positions in 16 dimensions",
        prediction=(
            "The first pair swings once in 2π positions; each further pair "
            "is 10000^(1/8) = 3.2 times slower, so the last ones look "
            "constant: sines near 0 (half filled), cosines near 1 (filled)."
        ),
        columns={"position": "", "dimension": "", "shade": ""},
        labels={"shade": "(1 + PE) / 2"},
        rows=[
            (p, j, (1 + encoding[p, j].item()) / 2)
            for p, j in product(range(24), range(16))
        ],
    )


def bench_wavelengths(record):
    waves = wavelengths(512)
    record(
        "wavelengths",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="Wavelengths of the 256 pairs at d_model = 512",
        prediction=(
            "From 2π for pair 0 to 2π·10000^(510/512) = 60,611 for pair "
            "255, a little under the 10000·2π = 62,832 that the paper gives."
        ),
        columns={"pair": "", "wavelength": "positions"},
        rows=[(i, waves[i].item()) for i in (0, 64, 128, 192, 255)],
    )


def bench_dot_product_over_lag(record):
    rows = []
    for d_model, lag in product((32, 512), range(0, 129, 2)):
        turn = lag * frequencies(d_model)
        rows.append((d_model, lag, turn.cos().mean().item()))
    record(
        "similarity",
        kind="tolerance",
        tolerance=1e-6,
        seed=None,
        title="Cosine of two sinusoidal encodings against their distance",
        prediction=(
            "PE(p)·PE(p+k) is the sum of cos(ω·k) over the pairs: 1 at lag "
            "0 after division by d/2, then falling as the fast pairs run "
            "out of step, with ripples. The slow pairs never leave 1, so it "
            "stays well above 0. More dimensions should smooth it."
        ),
        columns={"d_model": "", "lag": "positions", "cosine": ""},
        labels={"lag": "distance of the two positions"},
        rows=rows,
    )


def one_exponent_per_dimension(length, d_model):
    """The mistake: 2j/d for every dimension j, instead of every pair."""
    j = torch.arange(d_model, dtype=torch.float64)
    angle = torch.arange(length)[:, None] / 10000 ** (2 * j / d_model)
    return torch.where(j % 2 == 0, angle.sin(), angle.cos())


def bench_a_wrong_exponent(record):
    rows = []
    for name, encode in (
        ("one per pair", sinusoidal),
        ("one per dimension", one_exponent_per_dimension),
    ):
        small = encode(400, 4).double()
        norm = small.square().sum(-1)
        dots = (small[:-5] * small[5:]).sum(-1)
        large = encode(2048, 512).double()
        moved = large.amax(0) - large.amin(0)
        rows.append(
            (
                name,
                norm.min().item(),
                norm.max().item(),
                round((dots.max() - dots.min()).item(), 3),
                int((moved < 0.01).sum()),
            )
        )
    record(
        "exponent",
        kind="tolerance",
        tolerance=1e-3,
        seed=None,
        title="The exponent counted per pair, and by mistake per dimension",
        prediction=(
            "Right: squared norm d/2 = 2 everywhere, the same dot product "
            "at every place, all dimensions move. Wrong: sine and cosine "
            "have different frequencies, so neither holds; exponents reach "
            "2 instead of 1, so the slower part of the dimensions stands "
            "still."
        ),
        columns={
            "exponent": "",
            "norm_min": "",
            "norm_max": "",
            "spread": "",
            "still": "",
        },
        labels={
            "exponent": "frequencies",
            "norm_min": "smallest ‖PE‖², d = 4",
            "norm_max": "largest ‖PE‖², d = 4",
            "spread": "spread of PE(p)·PE(p+5)",
            "still": "of 512 dimensions, moved less than 0.01 in 2,048",
        },
        rows=rows,
    )


def bench_buckets(record):
    lag = torch.arange(0, 161)
    bucket = lag_buckets(lag).tolist()
    record(
        "buckets",
        kind="exact",
        seed=None,
        title="Bucket of each lag: 32 buckets, largest lag 128",
        prediction=(
            "Lags 0 to 15 have a bucket each; from 16 to 127 the remaining "
            "16 buckets grow by 8^(1/16) = 1.14 each; the last holds all "
            "from about 113 on."
        ),
        columns={"lag": "positions", "bucket": ""},
        labels={"lag": "lag between query and key"},
        rows=list(zip(lag.tolist(), bucket, strict=True)),
    )


def bench_alibi_weights(record):
    n, heads = 10, 4
    bias = alibi_bias(heads, n).double()
    hidden = bias.masked_fill(~causal_mask(n, n), -torch.inf)
    weights = masked_softmax(hidden)
    record(
        "alibi",
        kind="tolerance",
        tolerance=1e-6,
        seed=None,
        title="ALiBi's weights where all keys fit equally well",
        prediction=(
            "Slopes 1/4, 1/16, 1/64 and 1/256: in the first head a key "
            "loses a factor e^(-1/4) per position, so it looks at the last "
            "few; the last head hardly notices 10 positions and spreads "
            "its weight evenly."
        ),
        columns={"head": "", "query": "", "key": "", "weight": ""},
        rows=[
            (f"slope 1/{4 ** (h + 1)}", i, j, weights[h, i, j].item())
            for h, i, j in product(range(heads), range(n), range(n))
        ],
    )


BLOCK, D_MODEL, DECODER_HEADS = 64, 64, 4
TRAINED = {
    "none": lambda: Scheme(),
    "learned": lambda: Learned(4 * BLOCK, D_MODEL),
    "sinusoidal": lambda: Sinusoidal(),
    "relative bias": lambda: Relative(DECODER_HEADS, BLOCK),
    "ALiBi": lambda: Alibi(DECODER_HEADS),
}


@functools.cache
def trained():
    """One decoder per scheme, trained on 64 positions, and what to read."""
    train, validation, vocabulary = corpus()
    models = {}
    for name, scheme in TRAINED.items():
        torch.manual_seed(SEED)
        models[name] = Decoder(
            vocabulary,
            scheme(),
            d_model=D_MODEL,
            heads=DECODER_HEADS,
            layers=2,
        )
        fit(
            models[name],
            train,
            validation,
            steps=700,
            block=BLOCK,
            batch_size=16,
            peak=4e-3,
        )
    return models, validation


def means_of_16(model, validation):
    """Loss over 256 positions, in 16 means of 16 positions each."""
    loss = loss_by_position(model, validation, length=4 * BLOCK, stride=BLOCK)
    return loss.view(-1, 16).mean(-1).tolist()


@pytest.mark.trained
@one_thread()
def bench_length_beyond_training(record):
    models, validation = trained()
    rows = []
    for name, model in models.items():
        means = means_of_16(model, validation)
        rows += [(name, 16 * i + 16, x) for i, x in enumerate(means)]
    record(
        "beyond",
        kind="trained",
        example="one seed at one rate: what happens beyond the trained "
        "length, no ranking",
        seeds=(SEED,),
        spread={"loss": 0.2},
        title="Loss by position of models trained on 64 positions",
        prediction=(
            "Up to 64, all within a few hundredths, without positions a "
            "little behind. Beyond: learned positions jump, because their "
            "rows were never trained; sinusoids climb, because the model "
            "has never met those sums; relative bias and ALiBi stay flat, "
            "because they know lags only, and far ones share a bucket or "
            "weigh nothing. Without positions: a slow climb, as a mean "
            "over more tokens is a new kind of input."
        ),
        columns={"scheme": "", "position": "", "loss": "nat"},
        labels={
            "scheme": "positions",
            "position": "position in the text, up to",
            "loss": "validation loss",
        },
        rows=rows,
    )


@pytest.mark.trained
@one_thread()
def bench_a_window_of_the_trained_length(record):
    models, validation = trained()
    rows = []
    for name, model in models.items():
        free = means_of_16(model, validation)
        kept, model.scheme = model.scheme, Windowed(model.scheme, BLOCK)
        window = means_of_16(model, validation)
        model.scheme = kept
        rows.append((name, free[3], free[-1], window[-1]))
    record(
        "window",
        kind="trained",
        example="one seed at one rate: what a window changes, no ranking",
        seeds=(SEED,),
        spread={"trained": 0.05, "far": 0.2, "window": 0.1},
        title="The same models, each query limited to the last 64 keys",
        prediction=(
            "If the relative bias climbs because ever more keys share its "
            "last bucket and dilute the others, hiding what is more than "
            "63 back brings it down to where it was within 64. Without "
            "positions the reason is the same, so it comes down too, but "
            "not wholly: the number of keys was its only clock. Learned "
            "and sinusoidal hardly change, as their rows stay strange. "
            "ALiBi does not change: what is hidden had no weight."
        ),
        columns={
            "scheme": "",
            "trained": "nat",
            "far": "nat",
            "window": "nat",
        },
        labels={
            "scheme": "positions",
            "trained": "loss at 49 to 64",
            "far": "loss at 241 to 256",
            "window": "the same, last 64 keys only",
        },
        rows=rows,
    )


@pytest.mark.trained
@one_thread()
def bench_size_of_the_learned_rows(record):
    models, _ = trained()
    table = models["learned"].scheme.positions.table.weight.detach()
    words = models["learned"].embed.weight.detach()
    parts = {
        "words": words,
        "positions 0 to 63, trained": table[:BLOCK],
        "positions 64 to 255, never trained": table[BLOCK:],
    }
    record(
        "sizes",
        kind="trained",
        example="the rows that one model learned",
        seeds=(SEED,),
        spread={"size": 0.02},
        title="Size of an entry of the learned vectors after training",
        prediction=(
            "The rows begin at 0.02 and the words at 1. If 700 steps are "
            "too few to let the rows grow to the size of the words, that "
            "explains why learned positions are hardly better than none; "
            "the rows beyond 64 keep their 0.02, less a little decay."
        ),
        columns={"vectors": "", "size": ""},
        labels={"size": "root mean square of an entry"},
        rows=[
            (name, part.square().mean().sqrt().item())
            for name, part in parts.items()
        ],
    )
