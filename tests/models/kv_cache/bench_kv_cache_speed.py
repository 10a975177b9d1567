"""How quickly a Llama of 5.0M parameters decodes, and reads in chunks."""

import statistics

import jaxtyping
import pytest
import torch
import transformers as hf

from llmnotes.models.kv_cache import KVCache, Lean, generate
from llmnotes.models.kv_cache.fast import Compiled, CompiledInt8
from llmnotes.models.llama import Llama, LlamaConfig

SEED, PROMPT, NEW, THREADS = 0, 16, 128, 2
SHAPE = dict(
    vocab_size=4096,
    hidden_size=256,
    intermediate_size=688,
    num_hidden_layers=4,
    num_attention_heads=8,
    num_key_value_heads=4,
    max_position_embeddings=2048,
)


@pytest.fixture(autouse=True)
def fair_ground():
    """Two threads for everybody, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


def pair():
    """Hugging Face's model and ours, of the same random weights."""
    torch.manual_seed(SEED)
    config = hf.LlamaConfig(**SHAPE, bos_token_id=None, eos_token_id=None)
    other = hf.LlamaForCausalLM(config).eval()
    model = Llama(LlamaConfig(**SHAPE))
    model.load_state_dict(other.state_dict())
    return other, model


def decoders(ids):
    """{who: writes NEW tokens}, and the bytes that a step must read."""
    other, model = pair()
    lean, compiled = Lean(model), Compiled(model, THREADS)
    one, rough = Compiled(model, 1), CompiledInt8(model, THREADS)
    return (
        {
            "Hugging Face's generate()": lambda: other.generate(
                ids, max_new_tokens=NEW, do_sample=False, pad_token_id=0
            ),
            "our generate": lambda: generate(model, ids, NEW, temperature=0),
            "Lean": lambda: lean.generate(ids, NEW),
            "Compiled, one thread": lambda: one.generate(ids, NEW),
            "Compiled": lambda: compiled.generate(ids, NEW),
            "Compiled, 8 bits": lambda: rough.generate(ids, NEW),
        },
        {"Compiled, 8 bits": rough.bytes_per_token},
        compiled.bytes_per_token,
    )


@pytest.mark.timing
def bench_decoding(record, race):
    torch.manual_seed(SEED)
    ids = torch.randint(SHAPE["vocab_size"], (1, PROMPT))
    ways, lighter, bytes_read = decoders(ids)
    right, *others = [go() for go in ways.values()]
    for name, got in zip(list(ways)[1:-1], others[:-1], strict=True):
        assert torch.equal(got, right), name
    seconds = {
        name: statistics.median(times)
        for name, times in race(ways, rounds=7, slice_s=1.0).items()
    }
    first = seconds["Hugging Face's generate()"]
    record(
        "decoding",
        kind="timing",
        seed=SEED,
        title="128 greedy tokens behind 16, a Llama of 5.0M parameters",
        prediction=(
            "Our generate is a little quicker than Hugging Face's, Lean at "
            "least 2.2 times, the compiled loop 4 times on two threads; "
            "8 bits more than that, since memory is the limit."
        ),
        columns={
            "way": "",
            "speed": "tokens/s",
            "ratio": "",
            "weights": "GB/s",
        },
        labels={
            "way": "decoded by",
            "ratio": "times Hugging Face",
            "weights": "weights read",
        },
        rows=[
            (
                name,
                NEW / spent,
                first / spent,
                lighter.get(name, bytes_read) * NEW / spent / 1e9,
            )
            for name, spent in seconds.items()
        ],
    )


@pytest.mark.timing
def bench_prefill_in_chunks(record, race):
    _, model = pair()
    torch.manual_seed(SEED)
    ids = torch.randint(SHAPE["vocab_size"], (1, 1024))

    def read(chunk):
        def go():
            past = KVCache(1024)
            generate(model, ids, 1, past=past, chunk=chunk, temperature=0)

        return go

    sizes = 1024, 512, 256, 128, 64, 32
    times = race({size: read(size) for size in sizes}, slice_s=0.5)
    whole = statistics.median(times[1024])
    record(
        "chunks",
        kind="timing",
        seed=SEED,
        title="Reading a prompt of 1,024 tokens in chunks",
        prediction=(
            "Within a fifth of reading it whole, down to 64 tokens at once; "
            "below that, each step's fixed costs show."
        ),
        columns={"chunk": "tokens", "seconds": "s", "ratio": ""},
        labels={"ratio": "times whole"},
        rows=[
            (size, (spent := statistics.median(t)), spent / whole)
            for size, t in times.items()
        ],
    )
