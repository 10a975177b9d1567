"""How long a scan takes in each form, and a token behind a long context."""

import statistics

import jaxtyping
import pytest
import torch
import torch.nn.functional as F

from llmnotes.models.kv_cache import KVCache
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.models.mamba import (
    Mamba,
    MambaConfig,
    QuickMamba,
    fast,
    scan,
)
from llmnotes.modes import evaluating

SEED, THREADS = 0, 2
BATCH, LENGTH, WIDTH, STATE = 2, 2048, 256, 16
FORMS = {
    "loop over tokens, PyTorch": scan.selective_scan,
    "tree, PyTorch": scan.parallel_scan,
    "compiled": fast.selective_scan,
}


@pytest.fixture(autouse=True)
def fair_ground():
    """Two threads for everybody, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


def inputs():
    """x, Δ, A, B, C of the race."""
    draws = torch.Generator().manual_seed(SEED)

    def normal(*shape):
        return torch.randn(shape, generator=draws)

    return [
        normal(BATCH, LENGTH, WIDTH),
        F.softplus(normal(BATCH, LENGTH, WIDTH) - 2),
        -torch.arange(1.0, STATE + 1).repeat(WIDTH, 1),
        normal(BATCH, LENGTH, STATE),
        normal(BATCH, LENGTH, STATE),
    ]


def ahead(form, x):
    """Forward alone."""

    def go():
        with torch.no_grad():
            return form(*x)[0]

    return go


def there_and_back(form, x):
    """Forward and the gradient of everything."""
    leaves = [part.clone().requires_grad_() for part in x]

    def go():
        for leaf in leaves:
            leaf.grad = None
        form(*leaves)[0].sum().backward()
        return leaves[0].grad

    return go


@pytest.mark.timing
def bench_scan(record, race):
    x, both = inputs(), {}
    for way, make in (
        ("forward", ahead),
        ("forward and backward", there_and_back),
    ):
        ways = {(way, name): make(form, x) for name, form in FORMS.items()}
        right, *others = [go() for go in ways.values()]
        for other in others:
            torch.testing.assert_close(other, right, rtol=1e-3, atol=1e-3)
        both |= ways
    times = race(both, rounds=5, slice_s=0.2)
    seconds = {key: statistics.median(t) for key, t in times.items()}
    loop = next(iter(FORMS))
    rows = [(*key, s, seconds[key[0], loop] / s) for key, s in seconds.items()]
    record(
        "scan",
        kind="timing",
        seed=SEED,
        title="A scan of 2 texts, 2,048 tokens, 256 channels of 16 numbers, "
        "float32",
        prediction=(
            "Compiled at least 15 times as quick as the loop, and 50 times "
            "there and back; the tree is slower than the loop, since two "
            "cores have no use for all the steps that it could do at once."
        ),
        columns={"way": "", "form": "", "seconds": "s", "ratio": ""},
        labels={"ratio": "times as quick as the loop"},
        rows=rows,
    )


CONTEXTS = 64, 256, 1024, 4096, 16384
SHAPE = dict(vocab_size=256, hidden_size=128)


def remembering():
    """A Mamba that has read so many tokens: {context: one more}.

    Its compiled double reads them; steps are those of the plain one.
    """
    torch.manual_seed(SEED)
    config = MambaConfig(**SHAPE, num_hidden_layers=7)
    model, quick = Mamba(config).eval(), QuickMamba(config).eval()
    quick.load_state_dict(model.state_dict())
    ways = {}
    for context in CONTEXTS:
        past = model.cache_for(context)
        read(quick, past, context)
        ways["Mamba", context] = stepping(model, past, context)
    return ways


def attending():
    """A Llama as large, whose cache is filled: {context: one more}."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        **SHAPE,
        intermediate_size=344,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=CONTEXTS[-1] + 1,
    )
    model, ways = Llama(config).eval(), {}
    for context in CONTEXTS:
        past = KVCache(context + 1)
        read(model, past, context)
        ways["Llama", context] = stepping(model, past, context)
    return ways


def read(model, past, context):
    """Fill a past with random tokens, 512 at a time."""
    ids = torch.randint(256, (1, context))
    with evaluating(model):
        for part in ids.split(512, dim=1):
            model(part, past=past)


def stepping(model, past, context):
    """Read one token behind a context; a cache then forgets it again."""
    token = torch.zeros(1, 1, dtype=torch.long)

    def go():
        if isinstance(past, KVCache):
            past.cut(context)
        with evaluating(model):
            model(token, past=past)

    return go


@pytest.mark.timing
def bench_decoding(record, race):
    ways = remembering() | attending()
    times = race(ways, rounds=7, slice_s=0.1)
    record(
        "decoding",
        kind="timing",
        seed=SEED,
        title="One more token behind a context: 7 layers of Mamba and 4 of "
        "Llama, width 128, 0.85 million parameters each",
        prediction=(
            "Mamba's time is flat within 10 %; the Llama's grows with its "
            "cache, little up to 1,024 tokens and several times by 16,384."
        ),
        columns={"model": "", "context": "tokens", "seconds": "s"},
        rows=[(*key, statistics.median(t)) for key, t in times.items()],
    )
