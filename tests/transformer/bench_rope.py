"""What the RoPE chapter measures: layouts, decay, precision, length."""

import copy
import functools
import math
from itertools import product

import pytest
import torch

from llmnotes.transformer.positions import frequencies, sinusoidal
from llmnotes.transformer.rope import (
    angles,
    decay_bound,
    ntk,
    position_interpolation,
    rotate,
    rotate_interleaved,
    yarn,
    yarn_scale,
)
from tests.transformer.positions.tiny_decoder import (
    Decoder,
    Rotary,
    Windowed,
    corpus,
    fit,
    loss_by_position,
    one_thread,
)

SEED = 0
BLOCK, FACTOR, HEAD_DIM = 64, 8, 32


def turn_at(position, head_dim):
    return angles(torch.tensor([position]), head_dim, dtype=torch.float64)


def score_added(query, key, m, n):
    """Score where sinusoids were added to the words, per √d."""
    d = query.shape[-1]
    place = sinusoidal(m + 1, d, dtype=torch.float64)
    return ((query + place[m]) @ (key + place[n]).mT).item() / math.sqrt(d)


def score_turned(query, key, m, n):
    """Score where query and key were turned by their positions, per √d."""
    d = query.shape[-1]
    a, b = rotate(query, turn_at(m, d)), rotate(key, turn_at(n, d))
    return (a @ b.mT).item() / math.sqrt(d)


def bench_moving_two_words_together(record):
    torch.manual_seed(SEED)
    query, key = torch.randn(2, 1, 32, dtype=torch.float64)
    rows = []
    for name, score in (
        ("sinusoids added", score_added),
        ("RoPE", score_turned),
    ):
        rows += [
            (name, m, score(query, key, m, m - 5)) for m in range(5, 102, 4)
        ]
    record(
        "moved",
        kind="tolerance",
        tolerance=1e-6,
        seed=SEED,
        title="Score of the same two words, 5 apart, at different places",
        prediction=(
            "Added sinusoids: the products of word and position depend on "
            "the place, so the score wanders. Turned: constant to the last "
            "digit."
        ),
        columns={"method": "", "position": "", "score": ""},
        labels={
            "position": "position of the second word",
            "score": "score",
        },
        rows=rows,
    )


def bench_clocks(record):
    d, m, n = 8, 8, 3
    at_query, at_key = turn_at(m, d)[0], turn_at(n, d)[0]
    word = torch.tensor([[1.0, 0.0] * (d // 2)], dtype=torch.float64)
    query = rotate_interleaved(word, at_query[None])
    key = rotate_interleaved(word, at_key[None])
    products = (query * key).view(-1, 2).sum(-1)
    record(
        "clocks",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="Four pairs of one word, as a query at 8 and as a key at 3",
        prediction=(
            "Pair i of the query has turned by 8 θ_i, that of the key by "
            "3 θ_i; their product is cos 5 θ_i: 0.28 in the first pair and "
            "almost 1 in the last."
        ),
        columns={
            "pair": "",
            "theta": "rad",
            "query": "rad",
            "key": "rad",
            "product": "",
        },
        labels={
            "theta": "turn per position θ",
            "query": "angle of the query",
            "key": "angle of the key",
            "product": "their product",
        },
        rows=[
            (i, *(x.item() for x in row))
            for i, row in enumerate(
                zip(
                    frequencies(d).double(),
                    at_query,
                    at_key,
                    products,
                    strict=True,
                )
            )
        ],
    )


def bench_stripes(record):
    torch.manual_seed(SEED)
    query, key = torch.randn(2, 1, 16, dtype=torch.float64)
    rows, n = [], 12
    for name, score in (
        ("sinusoids added", score_added),
        ("RoPE", score_turned),
    ):
        cells = torch.tensor(
            [
                [score(query, key, m, k) if k <= m else 0 for k in range(n)]
                for m in range(n)
            ]
        )
        seen = torch.ones(n, n).tril().bool()
        low, high = cells[seen].min(), cells[seen].max()
        shade = ((cells - low) / (high - low)).where(seen, 0)
        rows += [
            (name, m, k, round(shade[m, k].item(), 6))
            for m, k in product(range(n), range(n))
        ]
    record(
        "stripes",
        kind="tolerance",
        tolerance=1e-3,
        seed=SEED,
        title="Scores when every query and every key is the same word",
        prediction=(
            "RoPE: the same shade along every diagonal, because only the "
            "lag counts. Added sinusoids: no such pattern."
        ),
        columns={"method": "", "query": "", "key": "", "shade": ""},
        rows=rows,
    )


def mixed(x, turn):
    """The mistake: angles for half-split, partners from interleaved."""
    cos, sin = (torch.cat([f, f], -1) for f in (turn.cos(), turn.sin()))
    even, odd = x[..., ::2], x[..., 1::2]
    return x * cos + torch.stack([-odd, even], -1).flatten(-2) * sin


def bench_layouts(record):
    torch.manual_seed(SEED)
    query, key = torch.randn(2, 1, 8, dtype=torch.float64)
    rows = []
    for name, turn in (
        ("interleaved", rotate_interleaved),
        ("half-split", rotate),
        ("mixed", mixed),
    ):
        turned = {m: turn(query, turn_at(m, 8)) for m in range(2, 7)}
        scores = [
            (turned[m] @ turn(key, turn_at(m - 2, 8)).mT).item()
            for m in turned
        ]
        error = max(
            abs(q.norm() / query.norm() - 1).item() for q in turned.values()
        )
        rows.append((name, *scores, round(error, 9)))
    record(
        "layouts",
        kind="tolerance",
        tolerance=1e-6,
        seed=SEED,
        title="Scores at lag 2, and how much the norm of the query changes",
        prediction=(
            "Each layout alone gives one score, whatever the position, and "
            "keeps the norm; the two scores differ from each other, as "
            "other pairs are turned. Mixed, it is no rotation: five "
            "different scores and a wrong norm."
        ),
        columns={
            "layout": "",
            **{f"m{m}": "" for m in range(2, 7)},
            "norm_error": "",
        },
        labels={
            **{f"m{m}": f"m = {m}" for m in range(2, 7)},
            "norm_error": "error of the norm",
        },
        rows=rows,
    )


def bench_decay(record):
    lag = torch.tensor([0, 1, *range(2, 257, 2)])
    rows = []
    for base in (1e4, 5e5):
        bound = decay_bound(lag, frequencies(128, base)).tolist()
        name = f"{base / 1000:.0f}k"
        rows += [(name, *r) for r in zip(lag.tolist(), bound, strict=True)]
    record(
        "decay",
        kind="tolerance",
        tolerance=1e-6,
        seed=None,
        title="The bound on a score against the lag, head dimension 128",
        prediction=(
            "At lag 0 the partial sums are 1, 2, …, 64, with mean 32.5. It "
            "falls quickly while the fast pairs run out of step, then "
            "slowly and with ripples. A base of 500,000 slows all pairs, "
            "so the bound falls later."
        ),
        columns={"base": "", "lag": "positions", "bound": ""},
        labels={
            "lag": "lag between query and key",
            "bound": "mean |S|",
        },
        rows=rows,
    )


def bench_precision_of_the_angles(record):
    torch.manual_seed(SEED)
    query, key = torch.randn(2, 64, 64, dtype=torch.float64)
    theta, lag, rows = frequencies(64), 5, []
    exact = (rotate(query, (lag * theta).expand(64, -1)) * key).sum(-1)
    for dtype, end in product(
        (torch.float32, torch.float16, torch.bfloat16),
        (128, 256, 512, 2048, 8192, 32768),
    ):
        positions = torch.arange(end - 64, end)
        m, n = (
            (p.to(dtype)[:, None] * theta.to(dtype)).double()
            for p in (positions, positions - lag)
        )
        score = (rotate(query, m) * rotate(key, n)).sum(-1)
        error = ((score - exact).abs().max() / exact.std()).item()
        rows.append((str(dtype).removeprefix("torch."), end, error))
    record(
        "precision",
        kind="tolerance",
        tolerance=0.05,
        seed=SEED,
        title="Largest error of scores at lag 5, angles computed in a dtype",
        prediction=(
            "An angle of m radians is rounded to m·2⁻²⁴ in float32, m·2⁻¹¹ "
            "in float16 and m·2⁻⁸ in bfloat16. bfloat16 cannot count "
            "beyond 256: there whole positions are confused and the error "
            "is as large as the score. float32 should stay below 1 % at "
            "32,768."
        ),
        columns={"dtype": "", "position": "", "error": ""},
        labels={
            "position": "positions up to",
            "error": "largest error, in standard deviations of the scores",
        },
        rows=rows,
    )


STRETCHED = {
    "plain": (frequencies(HEAD_DIM), 1.0),
    "interpolation": (position_interpolation(HEAD_DIM, float(FACTOR)), 1.0),
    "NTK": (ntk(HEAD_DIM, float(FACTOR)), 1.0),
    "YaRN": (
        yarn(HEAD_DIM, float(FACTOR), BLOCK),
        yarn_scale(float(FACTOR)),
    ),
}


def bench_stretched_frequencies(record):
    plain, _ = STRETCHED["plain"]
    record(
        "stretched",
        kind="tolerance",
        tolerance=1e-6,
        seed=None,
        title="What each method does to the 16 pairs of a head, factor 8",
        prediction=(
            "Interpolation divides all by 8. NTK goes geometrically from 1 "
            "to 1/8. YaRN follows a ramp over the pairs that turn between "
            "32 times and once in 64 positions: pair 0 turns only 10 "
            "times, so the ramp begins at once and ends by pair 5."
        ),
        columns={"method": "", "pair": "", "ratio": ""},
        labels={"ratio": "frequency relative to plain RoPE"},
        rows=[
            (name, i, (theta[i] / plain[i]).item())
            for name, (theta, _) in STRETCHED.items()
            for i in range(HEAD_DIM // 2)
        ],
    )


@functools.cache
def trained():
    """A decoder trained on 64 positions, and the texts."""
    train, validation, vocabulary = corpus()
    torch.manual_seed(SEED)
    model = Decoder(
        vocabulary,
        Rotary(frequencies(HEAD_DIM)),
        d_model=64,
        heads=2,
        layers=2,
    )
    options = dict(steps=800, block=BLOCK, batch_size=16, peak=4e-3)
    fit(model, train, validation, **options)
    return model, train, validation


def means_of_32(model, validation):
    """Loss over 512 positions, in 16 means of 32 positions each."""
    loss = loss_by_position(
        model, validation, length=FACTOR * BLOCK, stride=2 * BLOCK
    )
    return loss.view(-1, 32).mean(-1).tolist()


@pytest.mark.trained
@one_thread()
def bench_length_extension(record):
    start, train, validation = trained()
    rows = []
    for name, (theta, scale) in STRETCHED.items():
        model = copy.deepcopy(start)
        model.scheme = Rotary(theta, scale)
        before = means_of_32(model, validation)
        fit(
            model,
            train,
            validation,
            steps=60,
            block=FACTOR * BLOCK,
            batch_size=2,
            peak=5e-4,
        )
        after = means_of_32(model, validation)
        for training, means in (
            ("before", before),
            ("after 60 steps at 512", after),
        ):
            rows += [
                (name, training, 32 * i + 32, x) for i, x in enumerate(means)
            ]
    record(
        "length",
        kind="trained",
        example="one model, stretched after its training",
        seeds=(SEED,),
        spread={"loss": 0.3},
        title="Loss by position of a model trained on 64 positions",
        prediction=(
            "Plain RoPE climbs beyond 64, as the slow pairs reach angles "
            "they never had. Interpolation without training is bad "
            "everywhere, as neighbours are now an eighth of a position "
            "apart. NTK and YaRN should stay close to the trained loss "
            "within 64 and beyond it beat plain; YaRN should lead. After "
            "60 steps at length 512 all but plain should be flat."
        ),
        columns={
            "method": "",
            "training": "",
            "position": "",
            "loss": "nat",
        },
        labels={
            "position": "position in the text, up to",
            "loss": "validation loss",
        },
        rows=rows,
    )


@pytest.mark.trained
@one_thread()
def bench_what_hurts_beyond_training(record):
    model, _, validation = trained()
    model, (yarned, _) = copy.deepcopy(model), STRETCHED["YaRN"]
    plain = model.scheme
    rows = []
    for name, scheme in {
        "plain": plain,
        "plain, last 64 keys only": Windowed(plain, BLOCK),
        "YaRN": Rotary(*STRETCHED["YaRN"]),
        "YaRN without its scale": Rotary(yarned),
    }.items():
        model.scheme = scheme
        means = means_of_32(model, validation)
        rows.append((name, means[1], means[-1]))
    record(
        "causes",
        kind="trained",
        example="one model, changed after its training",
        seeds=(SEED,),
        spread={"near": 0.05, "far": 0.3},
        title="What hurts plain RoPE beyond 64, and YaRN within",
        prediction=(
            "With no more than 64 keys in sight plain RoPE meets no lag "
            "that it has not learned, wherever it stands: its loss at 512 "
            "should be that at 64. YaRN without its scale of 1.21 (1.46 on "
            "the scores) should lose less within 64, where the model was "
            "trained without one, and more at 512."
        ),
        columns={"method": "", "near": "nat", "far": "nat"},
        labels={
            "near": "loss at positions 33 to 64",
            "far": "loss at positions 481 to 512",
        },
        rows=rows,
    )
