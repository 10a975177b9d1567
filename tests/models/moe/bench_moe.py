"""What the chapter counts: parameters, flops, dropped tokens, balance."""

import torch
import transformers as hf
from torch.utils.flop_counter import FlopCounterMode

from llmnotes.models.llama import SwiGLU
from llmnotes.models.moe import (
    MIXTRAL_8X7B,
    MIXTRAL_8X22B,
    BiasedRouter,
    Mixtral,
    MixtralConfig,
    Mixture,
    active_parameters,
    by_definition,
    capacity,
    choose,
    dropped,
    fitting,
    loads,
)
from llmnotes.transformer.gpt import parameters

SEED = 0


def ours(config):
    """Total and active parameters of a Mixtral."""
    with torch.device("meta"):
        model = Mixtral(config)
    return parameters(model), active_parameters(model)


def theirs(kind, chosen, **shape):
    """The same of a model of Hugging Face, whose experts are stacked."""
    with torch.device("meta"):
        model = hf.AutoModelForCausalLM.from_config(kind(**shape))
    whole = parameters(model)
    idle = 0
    for name, p in model.named_parameters():
        if ".experts." in name and p.ndim == 3:
            idle += p.numel() // len(p) * (len(p) - chosen)
    return whole, whole - idle


OLMOE = dict(
    vocab_size=50304, hidden_size=2048, intermediate_size=1024,
    num_hidden_layers=16, num_attention_heads=16, num_key_value_heads=16,
    num_experts=64, num_experts_per_tok=8, tie_word_embeddings=False,
)  # fmt: skip
QWEN3 = dict(
    vocab_size=151936, hidden_size=2048, intermediate_size=6144,
    moe_intermediate_size=768, num_hidden_layers=48, num_attention_heads=32,
    num_key_value_heads=4, head_dim=128, num_experts=128,
    num_experts_per_tok=8, norm_topk_prob=True, tie_word_embeddings=False,
)  # fmt: skip


def bench_parameters_of_the_published_models(record):
    models = {
        "Mixtral 8x7B": ("2 of 8", "47 B, 13 B", ours(MIXTRAL_8X7B)),
        "Mixtral 8x22B": ("2 of 8", "141 B, 39 B", ours(MIXTRAL_8X22B)),
        "OLMoE 1B-7B": (
            "8 of 64", "6.9 B, 1.3 B", theirs(hf.OlmoeConfig, 8, **OLMOE)
        ),
        "Qwen3 30B-A3B": (
            "8 of 128", "30.5 B, 3.3 B", theirs(hf.Qwen3MoeConfig, 8, **QWEN3)
        ),
        "DeepSeek-V3": (
            "8 of 256 + 1", "671 B, 37 B", theirs(hf.DeepseekV3Config, 8)
        ),
    }  # fmt: skip
    record(
        "counts",
        kind="exact",
        seed=None,
        title="Parameters that there are, and that one token meets",
        prediction=(
            "What was published, once rounded. 8x7B is far from 56 billion, "
            "since attention, embedding and head are there once; and two of "
            "eight experts are more than a quarter of the model, for the "
            "same reason."
        ),
        columns={
            "model": "", "experts": "", "published": "", "total": "",
            "active": "",
        },
        labels={
            "experts": "read a token",
            "published": "published, total and active",
        },
        rows=[(name, *about, *n) for name, (*about, n) in models.items()],
    )  # fmt: skip


WIDTH, INNER, TOKENS, CHOSEN = 32, 48, 512, 2


def flops(go):
    """What a call multiplies and adds, by PyTorch's counter."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        go()
    return counter.get_total_flops()


def ways(layer, x):
    """Both ways to compute a layer, its router included."""
    held = layer.experts.gate_up_proj, layer.experts.down_proj
    return {
        "by definition": lambda: by_definition(x, layer.gate(x), *held),
        "grouped": lambda: layer(x),
    }


def bench_flops_of_a_layer(record):
    torch.manual_seed(SEED)
    x, rows = torch.randn(TOKENS, WIDTH), []
    for experts in (2, 4, 8, 16, 32, 64):
        shape = dict(
            hidden_size=WIDTH, intermediate_size=INNER,
            num_attention_heads=1, num_key_value_heads=1,
            num_local_experts=experts,
        )  # fmt: skip
        layer = Mixture(MixtralConfig(**shape, num_experts_per_tok=CHOSEN))
        for way, go in ways(layer, x).items():
            rows.append((way, experts, flops(go)))
    dense = SwiGLU(MixtralConfig(**shape | {"intermediate_size": 96}))
    rows.append(("dense", CHOSEN, flops(lambda: dense(x))))
    record(
        "flops",
        kind="exact",
        seed=SEED,
        title="Flops of a layer for 512 tokens, two experts each, counted",
        prediction=(
            "Grouped, as many as a dense MLP twice as wide as an expert, and "
            "a little for the router, which grows with the experts: a "
            "hundredth for 2, two ninths for 64 of these narrow ones. By "
            "definition half as many times as much as there are experts."
        ),
        columns={"way": "", "experts": "", "flops": ""},
        rows=rows,
    )


STREAM = 4096
FACTORS = 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0


def logits_of(kind, seed=SEED):
    """Logits of many tokens for 8 experts, even or with favourites."""
    torch.manual_seed(seed)
    logits = torch.randn(STREAM, 8, dtype=torch.float64)
    if kind == "favourites":
        logits += torch.arange(8) / 5
    return logits


def bench_dropped_tokens(record):
    rows = []
    for kind in ("even", "favourites"):
        routing = choose(logits_of(kind), 1)
        for factor in FACTORS:
            places = capacity(STREAM, 8, factor)
            lost = dropped(fitting(routing, places))
            empty = 8 * places - (STREAM - lost)
            rows.append((kind, factor, 100 * lost / STREAM, empty))
    record(
        "dropped",
        kind="tolerance",
        tolerance=1e-9,
        seed=SEED,
        title="4,096 tokens, 8 experts, one each: what finds no room",
        prediction=(
            "With chances that are even, a few per cent at 1.0 and nothing "
            "from 1.25 on. Where the last expert is asked several times as "
            "often as the first, a fifth at 1.0, and something up to a "
            "factor of 2."
        ),
        columns={"routing": "", "factor": "", "lost": "%", "empty": ""},
        labels={
            "factor": "capacity factor",
            "lost": "dropped",
            "empty": "empty places",
        },
        rows=rows,
    )


def bench_balance_without_a_loss(record):
    config = MixtralConfig(
        hidden_size=8, num_attention_heads=1, num_key_value_heads=1,
        intermediate_size=8,
    )  # fmt: skip
    rows = []
    for rate in (0.001, 0.01, 0.1):
        router = BiasedRouter(config).double()
        with torch.no_grad():
            router.weight.copy_(torch.eye(8))  # the rows are the logits
        for step in range(151):
            counts = loads(router(logits_of("favourites", step)))
            if step % 10 == 0:
                most = counts.max().item() / counts.double().mean().item()
                rows.append((rate, step, most))
            router.adjust(counts, rate)
    record(
        "bias",
        kind="tolerance",
        tolerance=1e-9,
        seed=SEED,
        title="The busiest of 8 experts, while biases learn without a loss",
        prediction=(
            "It begins near twice an even share. At a rate of 0.01 the "
            "biases, which are added to scores between 0 and 1, are there "
            "after 30 steps; at 0.001 they are under way after 150; at 0.1 "
            "they are there at once and jump to and fro."
        ),
        columns={"rate": "", "step": "", "most": ""},
        labels={"step": "steps", "most": "times an even share"},
        rows=rows,
    )
