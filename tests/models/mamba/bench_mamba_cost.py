"""What a token costs: to write behind a context, and to train on."""

import statistics

import jaxtyping
import pytest
import torch
import torch.nn.functional as F

from llmnotes.models.kv_cache import KVCache
from llmnotes.models.llama import Llama
from llmnotes.models.mamba.hybrid import TwofoldMemory
from llmnotes.models.s4 import S4
from llmnotes.modes import evaluating
from tests.models.mamba.text_runs import CONTESTANTS, GOAL, VOCAB, built

SEED = 0
CONTEXTS = 64, 256, 1024, 4096, 16384
LENGTHS, TOKENS = (64, 256, 1024, 4096), 4096
TOKEN = torch.zeros(1, 1, dtype=torch.long)


@pytest.fixture(autouse=True)
def fair_ground():
    """One thread for everybody, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


def writer(name, context):
    """Read one more token behind a context; and the bytes that are kept."""
    model = built(name, SEED).eval()
    if name == "LSTM":
        return recurring(model)
    if name == "S4D":
        return stepping(model)
    return looking(model, context)


def recurring(model):
    """An LSTM's state has the same size behind any context."""
    with torch.no_grad():
        state = model.layers(model.embed(TOKEN.expand(1, 8)))[1]

    @torch.no_grad()
    def go():
        out, _ = model.layers(model.embed(TOKEN), state)
        return model.head(out)

    return go, sum(x.nbytes for x in state)


def stepping(model):
    """So have S4D's states."""
    embed, core = model
    assert isinstance(core, S4)
    states = core.start(1)

    @torch.no_grad()
    def go():
        return core.step(embed(TOKEN[0]), states)[0]

    return go, sum(h.nbytes for h in states)


def looking(model, context):
    """Mamba, with a look or without, and a Transformer behind its cache."""
    cached = isinstance(model, Llama)
    past = KVCache(context + 1) if cached else model.cache_for(context + 1)
    with evaluating(model):
        for low in range(0, context, 512):
            size = min(512, context - low)
            model(TOKEN.expand(1, size), past=past)
    held = past.bytes * context // (context + 1) if cached else past.nbytes

    def go():
        back_to(past, context)
        with evaluating(model):
            return model(TOKEN, past=past)

    return go, held


def back_to(past, context):
    """Forget the token that was read last, as far as lengths go."""
    if isinstance(past, KVCache):
        past.cut(context)
        return
    past.length = context
    if isinstance(past, TwofoldMemory):
        past.cache.cut(context)


@pytest.mark.timing
def bench_written(record, race):
    made = {(n, c): writer(n, c) for n in CONTESTANTS for c in CONTEXTS}
    ways = {key: go for key, (go, _) in made.items()}
    times = race(ways, rounds=7, slice_s=0.1)
    record(
        "written",
        kind="timing",
        seed=SEED,
        title=f"One more token behind a context, {GOAL:,} parameters, one "
        "thread",
        prediction=(
            "LSTM, S4D and Mamba take and keep the same behind any context. "
            "The Transformer's cache grows from a tenth of a megabyte to 30, "
            "and its time several times over; one look grows by a sixth of "
            "that."
        ),
        columns={
            "model": "",
            "context": "tokens",
            "seconds": "s",
            "kept": "B",
        },
        labels={"kept": "bytes kept"},
        rows=[
            (*key, statistics.median(t), made[key][1])
            for key, t in times.items()
        ],
    )


def learner(name, length):
    """Forward and backward over TOKENS tokens, in texts of a length."""
    model, draws = built(name, SEED), torch.Generator().manual_seed(SEED)
    shape = TOKENS // length, length
    ids = torch.randint(VOCAB, shape, generator=draws)

    def go():
        model.zero_grad()
        logits = model(ids)[:, :-1].flatten(0, 1)
        F.cross_entropy(logits, ids[:, 1:].flatten()).backward()

    return go


@pytest.mark.timing
def bench_trained(record, race):
    ways = {
        (n, size): learner(n, size) for n in CONTESTANTS for size in LENGTHS
    }
    times = race(ways, rounds=3, slice_s=0.1)
    record(
        "trained",
        kind="timing",
        seed=SEED,
        title=f"Forward and backward for a token of a text, {GOAL:,} "
        "parameters, one thread",
        prediction=(
            "The same at any length for the LSTM, S4D and Mamba; the "
            "Transformer is the cheapest up to about 1,000 tokens and the "
            "dearest at 4,096."
        ),
        columns={"model": "", "length": "tokens", "seconds": "s"},
        labels={"seconds": "time for a token"},
        rows=[
            (*key, statistics.median(t) / TOKENS) for key, t in times.items()
        ],
    )
