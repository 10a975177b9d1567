"""Reading a long prompt with a window: at once, and in chunks."""

import statistics

import jaxtyping
import pytest
import torch

from llmnotes.models.kv_cache import KVCache, generate
from llmnotes.models.mistral import Mistral, MistralConfig, RollingCache

SEED, THREADS, LENGTH, WINDOW = 0, 2, 2048, 256
SIZES = 2048, 1024, 512, 256, 128, 64, 32


@pytest.fixture(autouse=True)
def fair_ground():
    """Two threads for everybody, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


def model():
    """A Mistral of 5.0M parameters."""
    torch.manual_seed(SEED)
    config = MistralConfig(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=LENGTH,
        sliding_window=WINDOW,
    )
    return Mistral(config).eval()


@pytest.mark.timing
def bench_prefill_in_chunks(record, race):
    windowed = model()
    ids = torch.randint(4096, (1, LENGTH))
    caches = {"all": lambda: KVCache(LENGTH),
              "window": lambda: RollingCache(WINDOW)}  # fmt: skip

    def read(cache, chunk):
        def go():
            options = dict(past=caches[cache](), chunk=chunk, temperature=0)
            return generate(windowed, ids, 1, **options)

        return go

    ways = {(c, size): read(c, size) for c in caches for size in SIZES}
    right = ways["all", LENGTH]()
    for name, go in ways.items():
        assert torch.equal(go(), right), name
    times = race(ways, slice_s=0.4)
    whole = statistics.median(times["all", LENGTH])
    record(
        "chunks",
        kind="timing",
        seed=SEED,
        title="Reading a prompt of 2,048 tokens with a window of 256",
        prediction=(
            "Chunks of any size within 1.2 times of reading it whole, down "
            "to 64 tokens; with the rolling cache quicker than whole, since "
            "seven eighths of the scores are hidden and need not be "
            "computed. Attention is a third of the work, so at best by a "
            "quarter."
        ),
        columns={"cache": "", "chunk": "tokens", "seconds": "s", "ratio": ""},
        labels={"ratio": "times whole"},
        rows=[
            (*way, (spent := statistics.median(t)), spent / whole)
            for way, t in times.items()
        ],
    )
