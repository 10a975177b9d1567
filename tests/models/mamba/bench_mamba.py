"""What the chapter counts: parameters, bytes, overflows, pairs kept."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from llmnotes.models.kv_cache import bytes_per_token, heads_of
from llmnotes.models.llama import LlamaConfig
from llmnotes.models.mamba import (
    MAMBA_1_4B,
    MAMBA_2_8B,
    MAMBA_130M,
    MAMBA_370M,
    MAMBA_790M,
    Mamba,
    fast,
    scan,
)
from llmnotes.parallel.data_parallel.memory import Living
from tests.models.mamba.pairs import RULES, WRITTEN, fresh, overwritten
from tests.models.mamba.test_ssd import divided

SEED, CHANNELS = 0, 64
PUBLISHED = {
    "130M": MAMBA_130M,
    "370M": MAMBA_370M,
    "790M": MAMBA_790M,
    "1.4B": MAMBA_1_4B,
    "2.8B": MAMBA_2_8B,
}
FORMS = {
    "loop": scan.selective_scan,
    "tree": scan.parallel_scan,
    "compiled": fast.selective_scan,
}


def parameters(config):
    """All of them, from two models of one and two layers."""
    counts = []
    for layers in (1, 2):
        with torch.device("meta"):
            model = Mamba(replace(config, num_hidden_layers=layers))
        counts.append(sum(p.numel() for p in model.parameters()))
    layer = counts[1] - counts[0]
    return counts[0] + (config.num_hidden_layers - 1) * layer


def kept_numbers(config):
    """What a Mamba keeps of a text, states and windows."""
    each = config.inner * (config.state_size + config.conv_kernel - 1)
    return config.num_hidden_layers * each


def bench_parameters(record):
    record(
        "parameters",
        kind="exact",
        seed=None,
        title="The five Mambas that were published, and what a text costs",
        prediction="As their checkpoints have it, to the parameter.",
        columns={
            "model": "",
            "layers": "",
            "width": "",
            "parameters": "",
            "kept": "",
        },
        labels={"kept": "numbers kept of a text"},
        rows=[
            (
                name,
                config.num_hidden_layers,
                config.hidden_size,
                parameters(config),
                kept_numbers(config),
            )
            for name, config in PUBLISHED.items()
        ],
    )


def bench_state_and_cache(record):
    """At 16 bits a number, beside a Transformer of half as many layers."""
    config = MAMBA_2_8B
    other = LlamaConfig(
        hidden_size=config.hidden_size,
        num_hidden_layers=32,
        num_attention_heads=32,
    )
    token, rows = bytes_per_token(heads_of(other)), []
    for context in (16, 64, 256, 1024, 4096, 16384):
        rows.append(("state", context, 2 * kept_numbers(config)))
        rows.append(("cache", context, token * context))
    record(
        "context",
        kind="exact",
        seed=None,
        title="Bytes kept of a text at 16 bits: Mamba 2.8B, and 32 layers of "
        "attention as wide",
        prediction=(
            "A state weighs as much as the keys and values of some tens of "
            "tokens, and stays."
        ),
        columns={"kind": "", "context": "tokens", "bytes": "B"},
        rows=rows,
    )


def peak(form, length):
    """Bytes that forward and backward hold at most, beside what they get."""
    draws = torch.Generator().manual_seed(SEED)

    def normal(*shape):
        return torch.randn(shape, generator=draws)

    x = [
        normal(2, length, CHANNELS),
        F.softplus(normal(2, length, CHANNELS)),
        -normal(CHANNELS, 16).exp(),
        normal(2, length, 16),
        normal(2, length, 16),
    ]
    leaves = [part.requires_grad_() for part in x]
    with Living() as living:
        form(*leaves)[0].sum().backward()
    given = sum(part.nbytes for part in x)
    extra = scratch(2) if form is fast.selective_scan else 0
    return living.peak + extra, 2 * given + 2 * x[0].nbytes


def scratch(threads):
    """Bytes of the compiled loops' own arrays, which PyTorch does not see."""
    rows = 2 * fast.CHUNK + 1 + 5  # states, decays; rates, dA, g, h, nothing
    return threads * 4 * CHANNELS * (16 * rows + 1)


def bench_memory(record):
    threads, rows = torch.get_num_threads(), []
    torch.set_num_threads(2)
    peak(fast.selective_scan, 1)  # who compiles it holds on to some arrays
    for length in (32, 128, 512):
        for name, form in FORMS.items():
            most, given = peak(form, length)
            rows.append((name, length, most, most / given))
    torch.set_num_threads(threads)
    record(
        "memory",
        kind="exact",
        seed=SEED,
        title="Memory of a scan, forward and backward: 2 texts, 64 channels "
        "of 16 numbers, float32",
        prediction=(
            "Loop and tree keep several numbers for each number of each "
            "state, some tens of times what goes in and comes out; compiled, "
            "less than twice, once a text is longer than a few hundred "
            "tokens."
        ),
        columns={"form": "", "length": "tokens", "bytes": "B", "ratio": ""},
        labels={"ratio": "times inputs, output and their gradients"},
        rows=rows,
    )


def bench_overflow(record):
    torch.manual_seed(SEED)
    x, rows = torch.randn(256), []
    for fade in (-0.1, -0.3, -0.5, -1.0, -2.0):
        fades = torch.full((256,), fade)
        found = divided(x, fades)
        rows.append((fade, int((~found.isfinite()).sum())))
    record(
        "overflow",
        kind="exact",
        seed=SEED,
        title="Places of 256 in which the form that divides is no number",
        prediction=(
            "From the place at which the sum of fades is below -88.7, where "
            "e^88.7 ends float32, until the end: none at -0.1, 79 at -0.5."
        ),
        columns={"fade": "", "lost": ""},
        labels={"fade": "fade of each token", "lost": "places that are lost"},
        rows=rows,
    )


def bench_pairs(record):
    counts = 64, 128, 256, 512
    record(
        "pairs",
        kind="tolerance",
        tolerance=1e-9,
        spread={"overwritten": 0.02},  # old and new are level for attention
        seed=SEED,
        title="What states of 4,096 numbers keep, not trained",
        prediction=(
            "Adding keeps most fresh pairs and half of what is overwritten. "
            "The delta rule at full strength keeps fewer fresh ones and all "
            "that is overwritten; a decay forgets all but the last fifty or "
            "so. An LSTM's gates, never negative, blur every value. S4D, "
            "which writes every value in one place, keeps no pair: 1 in 256 "
            "is right by chance."
        ),
        columns={
            "memory": "",
            "written": "",
            **{f"pairs_{count}": "" for count in counts},
            "overwritten": "",
        },
        labels={
            **{f"pairs_{count}": f"of {count} pairs" for count in counts},
            "overwritten": "of 16 written anew",
            "written": "how it is written",
        },
        rows=[
            (
                name,
                WRITTEN[name],
                *(fresh(rule, count) for count in counts),
                overwritten(rule),
            )
            for name, rule in RULES.items()
        ],
    )
