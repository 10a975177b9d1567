"""How long a mixture takes, beside a dense MLP of equal active flops."""

import statistics

import jaxtyping
import pytest
import torch
from transformers import MixtralConfig as TheirConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from llmnotes.models.llama import SwiGLU
from llmnotes.models.moe import MixtralConfig, Mixture, by_definition

SEED, THREADS = 0, 2
SHAPE = dict(
    hidden_size=256,
    intermediate_size=512,
    num_attention_heads=4,
    num_key_value_heads=4,
    num_local_experts=8,
    num_experts_per_tok=2,
)
DENSE = "dense, as wide as two experts"
GROUPED = "grouped"


@pytest.fixture(autouse=True)
def fair_ground():
    """Two threads for everybody, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


class Defined(Mixture):
    """All experts read all tokens."""

    def forward(self, x):
        held = self.experts.gate_up_proj, self.experts.down_proj
        return by_definition(x, self.gate(x), *held)


class Theirs(torch.nn.Module):
    """Hugging Face's layer, which wants a batch, in one of its ways."""

    def __init__(self, way, weights):
        super().__init__()
        config = TheirConfig(**SHAPE)
        config._experts_implementation = way
        self.block = MixtralSparseMoeBlock(config)
        self.block.load_state_dict(weights)

    def forward(self, x):
        return self.block(x[None])[0]


def layers():
    """{way: layer}; all but the dense one have the same weights."""
    torch.manual_seed(SEED)
    grouped = Mixture(MixtralConfig(**SHAPE))
    defined = Defined(MixtralConfig(**SHAPE))
    weights = grouped.state_dict()
    defined.load_state_dict(weights)
    wide = SHAPE | {"intermediate_size": 2 * SHAPE["intermediate_size"]}
    dense = SwiGLU(MixtralConfig(**wide))
    return {
        DENSE: dense,
        GROUPED: grouped,
        "by definition": defined,
        "transformers, grouped_mm": Theirs("grouped_mm", weights),
        "transformers, eager": Theirs("eager", weights),
    }


def forward(layer, x):
    def go():
        with torch.no_grad():
            layer(x)

    return go


def both_ways(layer, x):
    def go():
        layer.zero_grad()
        layer(x).sum().backward()

    return go


@pytest.mark.timing
def bench_a_layer_beside_a_dense_one(record, race):
    torch.manual_seed(SEED)
    found, ways = {}, layers()
    inputs = {n: torch.randn(n, SHAPE["hidden_size"]) for n in (64, 512, 4096)}
    with torch.no_grad():
        right, *others = [
            layer(inputs[64]) for layer in list(ways.values())[1:]
        ]
    for other in others:
        torch.testing.assert_close(other, right)
    for kind, go in (("forward", forward), ("and back", both_ways)):
        for tokens, x in inputs.items():
            for name, layer in ways.items():
                found[kind, tokens, name] = go(layer, x)
    times = {
        key: statistics.median(seconds)
        for key, seconds in race(found, rounds=5, slice_s=0.1).items()
    }
    record(
        "speed",
        kind="timing",
        seed=SEED,
        title="A layer of 8 experts, 2 for each token, beside a dense MLP",
        prediction=(
            "Grouped within 1.3 times the dense layer of equal active flops "
            "at 4,096 tokens, forward and with the way back. More at 64, "
            "where eight products of 16 rows take the place of one of 64, "
            "and four times the weights are read. By definition four times."
        ),
        columns={
            "pass": "", "tokens": "", "way": "", "seconds": "s", "ratio": "",
        },
        labels={"ratio": "times the dense layer"},
        rows=[
            (kind, n, name, spent, spent / times[kind, n, DENSE])
            for (kind, n, name), spent in times.items()
        ],
    )  # fmt: skip
