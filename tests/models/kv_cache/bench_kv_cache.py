"""What the chapter counts: tokens read, bytes kept, places wasted, guesses."""

import heapq
import random

import torch

from llmnotes.models.kv_cache import (
    DEEPSEEK_V2,
    DEEPSEEK_V2_AS_MHA,
    GPT_3,
    MISTRAL_7B,
    OPT_13B,
    PALM_540B,
    acceptance,
    bytes_per_token,
    expected_tokens,
    generate,
    heads_of,
    intensity,
    ridge,
)
from llmnotes.models.llama import (
    LLAMA_2_7B,
    LLAMA_2_70B,
    LLAMA_3_1_405B,
    LLAMA_3_8B,
    Llama,
)
from llmnotes.transformer.gpt import generate as recompute
from tests.models.kv_cache.counting import JUDGED, Counts, corpus
from tests.models.kv_cache.tiny import llama, some_ids

SEED, PROMPT = 0, 8


class Watched(Llama):
    """Remembers how many tokens it was given."""

    read = 0

    def forward(self, ids, mask=None, past=None):
        self.read += ids.numel()
        return super().forward(ids, mask, past)


def bench_tokens_that_are_read(record):
    model, rows = llama(), []
    model.__class__ = Watched
    for new in (1, 2, 4, 8, 16, 32):
        for way, write in (("again", recompute), ("cached", generate)):
            model.read = 0
            write(model, some_ids(1, PROMPT), new, temperature=0)
            rows.append((way, new, model.read))
    record(
        "read",
        kind="exact",
        seed=SEED,
        title="Tokens that a model reads to write behind a prompt of 8",
        prediction=(
            "Without a cache 8 + 9 + 10 + …, the whole text for every new "
            "token: 752 for 32 of them. With it each token once, but for "
            "the last, which nobody asks for a successor: 39."
        ),
        columns={"way": "", "new": "", "read": ""},
        labels={"new": "tokens written", "read": "tokens read"},
        rows=rows,
    )


def bench_bytes_of_a_token(record):
    models = {
        "GPT-3 175B": ("MHA", GPT_3),
        "OPT 13B": ("MHA", OPT_13B),
        "Llama 2 7B": ("MHA", heads_of(LLAMA_2_7B)),
        "Llama 2 70B": ("GQA", heads_of(LLAMA_2_70B)),
        "Llama 3.1 405B": ("GQA", heads_of(LLAMA_3_1_405B)),
        "Llama 3 8B, Mistral, Mixtral": ("GQA", MISTRAL_7B),
        "PaLM 540B": ("MQA", PALM_540B),
        "DeepSeek-V2, were it MHA": ("MHA", DEEPSEEK_V2_AS_MHA),
        "DeepSeek-V2 236B": ("MLA", DEEPSEEK_V2),
    }
    record(
        "tokens",
        kind="exact",
        seed=None,
        title="What one token weighs in the cache, at 16 bits a number",
        prediction=(
            "Between a hundred kilobytes and a few megabytes; grouped heads "
            "divide by how many queries share a key, 8 in Llama's large "
            "models, and DeepSeek's latent by 57."
        ),
        columns={
            "model": "",
            "attention": "",
            "bytes": "B",
            "gib": "GiB",
        },
        labels={"bytes": "a token", "gib": "32,768 tokens"},
        rows=[
            (name, kind, (b := bytes_per_token(kept)), f"{b / 2**15:.1f}")
            for name, (kind, kept) in models.items()
        ],
    )


def bench_intensity(record):
    config = LLAMA_3_8B
    rows = [
        ("prefill", 0, 1, new, intensity(config, new))
        for new in (1, 4, 16, 64, 256, 1024)
    ]
    rows += [
        ("decode", past, batch, 1, intensity(config, 1, past, batch))
        for past in (128, 1024, 8192)
        for batch in (1, 4, 16, 64, 256, 1024)
    ]
    record(
        "intensity",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="Flops for each byte that Llama 3 8B must read, at 16 bits",
        prediction=(
            "One for one token. Prefill: as many as tokens are read at "
            "once. Decode: as many as the batch, until the caches weigh "
            "more than the weights; from then on near 4, because four "
            "queries share a key and nothing else is shared."
        ),
        columns={
            "step": "",
            "past": "tokens",
            "batch": "texts",
            "new": "tokens",
            "intensity": "FLOP/B",
        },
        rows=rows,
    )
    chips = {
        "A100 80 GB": (312e12, 2.039e12),
        "H100 SXM": (989e12, 3.35e12),
        "H200": (989e12, 4.8e12),
    }
    record(
        "ridges",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="Below so many flops for each byte, a chip waits for memory",
        prediction="Between 150 and 300, from the makers' data sheets.",
        columns={"chip": "", "ridge": "FLOP/B"},
        rows=[(name, ridge(*numbers)) for name, numbers in chips.items()],
    )


LONGEST, BATCH, REQUESTS = 2048, 8, 240


def drawn():
    """(prompt, answer) lengths of requests: many short, some long."""
    draw = random.Random(SEED)

    def length(middle, spread):
        return max(1, min(1024, int(draw.lognormvariate(middle, spread))))

    return [(length(5.0, 1.0), length(5.3, 0.9)) for _ in range(REQUESTS)]


def held(requests):
    """Places that hold a token, summed over all steps of all requests."""
    return sum(a * p + a * (a - 1) // 2 for p, a in requests)


def batches(requests):
    """The requests, so many at a time."""
    return [requests[i : i + BATCH] for i in range(0, len(requests), BATCH)]


def in_blocks(requests, size):
    """Places in the blocks of all requests, summed over their steps."""
    return sum(
        size * -(-(p + i) // size) for p, a in requests for i in range(a)
    )


def padded(requests):
    """Places of left-padded batches that stay until the longest is done."""
    room = 0
    for batch in batches(requests):
        longest = max(a for _, a in batch)
        room += BATCH * longest * (max(p for p, _ in batch) + longest)
    return room


def bench_waste(record):
    requests = drawn()
    rooms = {
        "padded batches of 8": padded(requests),
        "2,048 places each": LONGEST * sum(a for _, a in requests),
        "blocks of 256": in_blocks(requests, 256),
        "blocks of 64": in_blocks(requests, 64),
        "blocks of 16": in_blocks(requests, 16),
        "blocks of 1": in_blocks(requests, 1),
    }
    used = held(requests)
    record(
        "waste",
        kind="exact",
        seed=SEED,
        title="Of the room that is taken, how much holds a token",
        prediction=(
            "Padded batches and reservations of the longest text each use "
            "a fifth. Blocks of 16 waste 7.5 places of some 400: 2 %."
        ),
        columns={"layout": "", "used": "%", "places": "", "held": ""},
        labels={"used": "holds a token", "places": "places × steps"},
        rows=[
            (layout, round(100 * used / room), room, used)
            for layout, room in rooms.items()
        ],
    )


def continuous(requests):
    """Steps until all are answered, if a free place is taken at once."""
    ends = []
    for _, answer in requests:
        start = heapq.heappop(ends) if len(ends) == BATCH else 0
        heapq.heappush(ends, start + answer)
    return max(ends)


def bench_steps(record):
    requests = drawn()
    static = sum(max(a for _, a in batch) for batch in batches(requests))
    tokens = sum(a for _, a in requests)
    record(
        "steps",
        kind="exact",
        seed=SEED,
        title="Decode steps for 240 requests, eight at a time",
        prediction=(
            "A batch that waits for its longest answer takes about twice as "
            "many steps as one whose places are filled again at once."
        ),
        columns={"batching": "", "steps": "", "busy": "%"},
        labels={"busy": "places that write"},
        rows=[
            (name, steps, round(100 * tokens / (BATCH * steps)))
            for name, steps in (
                ("wait for the longest", static),
                ("continuous", continuous(requests)),
                ("at best", -(-tokens // BATCH)),
            )
        ],
    )


def bench_guesses(record):
    train, valid, size = corpus()
    counts = Counts(train, size, back=4)
    places = range(100, 100 + JUDGED)
    found = [counts.chances(valid[i - 4 : i]) for i in places]
    chances = torch.stack([torch.stack(orders) for orders in found])
    rows = []
    for back in range(4):
        alpha = acceptance(chances[:, 4], chances[:, back]).mean().item()
        rows += [
            (f"{back}", ahead, alpha, expected_tokens(alpha, ahead))
            for ahead in (1, 2, 4, 8, 16)
        ]
    record(
        "guesses",
        kind="tolerance",
        tolerance=1e-6,
        seed=None,
        title="Tokens for each check of a model that looks 4 characters back",
        prediction=(
            "The more the draft sees, the more is accepted: from a quarter "
            "for one that sees nothing to four fifths for one that sees "
            "three of the four characters. Then guesses up to eight ahead "
            "pay, before no more than two or three."
        ),
        columns={"back": "", "ahead": "", "alpha": "", "tokens": ""},
        labels={
            "back": "the draft looks back",
            "ahead": "tokens guessed",
            "alpha": "share accepted",
            "tokens": "tokens for each check",
        },
        rows=rows,
    )
