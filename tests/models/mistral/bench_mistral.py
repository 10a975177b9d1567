"""What the chapter counts: bytes kept, how far is seen, scores computed."""

import statistics

import pytest
import torch

from llmnotes.models.kv_cache import KVCache
from llmnotes.models.mistral import (
    MISTRAL_7B_V0_1,
    Mistral,
    MistralConfig,
    RollingCache,
)
from tests import contests
from tests.models.mistral.reaching import influences
from tests.models.mistral.retrieval_runs import (
    CONTESTANTS,
    DISTANCES,
    LENGTH,
    STEPS,
    found,
)

LENGTHS = 512, 4096, 32768
WINDOW = MISTRAL_7B_V0_1.sliding_window
SEEDS, RATES = (0, 1, 2), (3e-4, 1e-3, 3e-3, 1e-2)


def kept(past):
    """Bytes of a cache of Mistral 7B at 16 bits; it is never filled."""
    config = MISTRAL_7B_V0_1
    shape = 1, config.num_key_value_heads, 1, config.head_dim
    key = torch.zeros(shape, dtype=torch.bfloat16, device="meta")
    for layer in range(config.num_hidden_layers):
        past.extend(layer, key, key)
    return past.bytes


def bench_bytes_of_a_cache(record):
    record(
        "cache",
        kind="exact",
        seed=None,
        title="What the cache of Mistral 7B weighs, at 16 bits a number",
        prediction=(
            "131,072 bytes a token, so 4 GiB for 32,768 tokens; with the "
            "window 512 MiB from 4,096 tokens on, an eighth."
        ),
        columns={"cache": "", "length": "tokens", "bytes": "B", "mib": "MiB"},
        labels={"length": "length of the text", "mib": "cache"},
        rows=[
            (name, n, (size := kept(make(n))), size / 2**20)
            for name, make in (
                ("all", KVCache),
                ("window", lambda n: RollingCache(min(n, WINDOW))),
            )
            for n in LENGTHS
        ],
    )


REACH, FURTHEST = 8, 40


def bench_how_far_back_a_token_is_moved(record):
    rows = []
    for layers in (2, 4):
        torch.manual_seed(0)
        config = MistralConfig(
            vocab_size=31,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            sliding_window=REACH,
        )
        model = Mistral(config).double()
        moved = influences(model, FURTHEST)
        rows += [
            (f"{layers}", back, share)
            for back, share in enumerate((moved / moved[0]).tolist())
            if share > 0
        ]
    record(
        "reach",
        kind="tolerance",
        tolerance=1e-6,
        seed=0,
        title="What a token so far back does to the newest one's logits, "
        "window 8, fresh weights",
        prediction=(
            "With k layers exactly nothing beyond 7k tokens; and within, "
            "less by an order of magnitude for each window further, since "
            "each hop is a mean over eight tokens and a small matrix."
        ),
        columns={"layers": "", "back": "tokens", "share": ""},
        labels={
            "back": "how far back",
            "share": "derivative, of that to itself",
        },
        rows=rows,
    )


def needed(length, window):
    """Scores of which the weight is not zero."""
    return sum(min(i + 1, window) for i in range(length))


def computed(length, window, chunk):
    """Scores of products of whole chunks with what the cache hands back."""
    starts = range(0, length, chunk)
    return sum(
        (n := min(chunk, length - start)) * (min(start, window - 1) + n)
        for start in starts
    )


def bench_scores_that_are_computed(record):
    length = 32768
    least = needed(length, WINDOW)
    record(
        "scores",
        kind="exact",
        seed=None,
        title="Scores for a prompt of 32,768 tokens, window 4,096, one head",
        prediction=(
            "Read at once, a mask hides scores that were computed: nine "
            "times what is needed. In chunks of the window twice, in small "
            "ones hardly more than needed."
        ),
        columns={"chunk": "tokens", "scores": "", "times": ""},
        labels={"scores": "scores computed", "times": "times those needed"},
        rows=[
            (chunk, (s := computed(length, WINDOW, chunk)), f"{s / least:.2f}")
            for chunk in (32768, 8192, 4096, 2048, 1024, 256, 1)
        ],
    )


@pytest.mark.trained
def bench_words_are_found_within_the_reach(record):
    contestants = {(name,): [(name,)] for name in CONTESTANTS}
    best = contests.tuned(found, contestants, RATES, min)
    jobs = {n: [(n, best[n,], seed) for seed in SEEDS] for n in CONTESTANTS}
    said = contests.runs(found, sum(jobs.values(), []))
    rows = []
    for name in CONTESTANTS:
        shares = zip(*(said[job][1:] for job in jobs[name]), strict=True)
        for back, each in zip(DISTANCES, shares, strict=True):
            mean = statistics.mean(each)
            rows.append((name, back, best[name,], mean, min(each), max(each)))
    record(
        "retrieval",
        kind="trained",
        seeds=SEEDS,
        spread={
            "rate": None, "right": 0.1, "lowest": None, "highest": None,
        },
        example="how far back models of different reach learn to look; "
        "nothing is ranked. Each has the best of four rates on texts of "
        "seed 100, where they differ by a few guesses",
        title=f"A word among {LENGTH - 2} letters of noise, asked for at the "
        f"end, {STEPS} steps",
        prediction=(
            "All find a word inside the window. Beyond it the models of two "
            "and four layers find it as far as their reach, 14 and 28, "
            "less surely at its end, where there is one way only to hand "
            "it on; one token further all guess, one in eight. Without a "
            "window every distance is found."
        ),
        columns={
            "model": "", "back": "tokens", "rate": "", "right": "",
            "lowest": "", "highest": "",
        },
        labels={
            "back": "how far back",
            "rate": "best rate",
            "right": "right answers, mean of 3 seeds",
            "lowest": "worst seed",
            "highest": "best seed",
        },
        rows=rows,
    )  # fmt: skip
