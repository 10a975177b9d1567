"""What the chapter claims of narrow and of shared experts, proved."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from llmnotes.models.moe import (
    DeepSeekConfig,
    MixtralConfig,
    Mixture,
    SharedMixture,
    finer,
    ways,
)
from llmnotes.transformer.gpt import parameters
from tests.models.moe.layers import LAYER, layer, some_rows


def test_by_hand_the_paper_s_numbers_of_combinations():
    coarse = MixtralConfig(num_local_experts=16, num_experts_per_tok=2)
    assert ways(coarse) == 16 * 15 // 2 == 120
    assert ways(finer(coarse, 4)) == 4_426_165_368


@pytest.mark.parametrize("pieces", [1, 3, 9])
def test_finer_experts_have_the_parameters_and_flops_of_coarse_ones(pieces):
    shape = MixtralConfig(**LAYER | {"intermediate_size": 9})
    x, found = torch.randn(11, 6), []
    for config in (shape, finer(shape, pieces)):
        made = Mixture(config)
        routing = made.gate(x)
        with FlopCounterMode(display=False) as counter:
            made.experts(x, routing)
        found.append((parameters(made.experts), counter.get_total_flops()))
    assert found[0] == found[1]


def test_a_wide_expert_is_its_pieces_together():
    """With equal weights: cut along d_ff, the parts of a SwiGLU add up."""
    made = layer(
        num_local_experts=1, num_experts_per_tok=1, intermediate_size=8
    )
    config = finer(
        MixtralConfig(
            **LAYER
            | dict(
                num_local_experts=1, num_experts_per_tok=1, intermediate_size=8
            )
        ),
        4,
    )
    cut = Mixture(config).double()
    with torch.no_grad():
        gate, up = made.experts.gate_up_proj[0].chunk(2)
        for i in range(4):
            part = slice(2 * i, 2 * i + 2)
            stack = torch.cat([gate[part], up[part]])
            cut.experts.gate_up_proj[i] = stack
            cut.experts.down_proj[i] = made.experts.down_proj[0][:, part]
        cut.gate.weight.zero_()
    x = some_rows(11)
    torch.testing.assert_close(4 * cut(x), made(x))


def test_shared_experts_read_every_token():
    made = layer(SharedMixture, DeepSeekConfig, n_shared_experts=3)
    x = some_rows(2, 11)
    with torch.no_grad():
        for p in made.experts.parameters():
            p.zero_()
    torch.testing.assert_close(made(x), made.shared_experts(x))
    one = 3 * 6 * 7
    assert parameters(made.shared_experts) == 3 * one


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: finer(MixtralConfig(**LAYER), 2),
            "pieces: got 2, expected a divisor of intermediate_size = 7",
        ),
        (
            lambda: DeepSeekConfig(n_shared_experts=0),
            "n_shared_experts: got 0, expected at least 1",
        ),
    ],
)
def test_impossible_pieces_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_deepseek_s_defaults_are_those_of_its_16b_model():
    config = DeepSeekConfig()
    chosen = config.num_experts_per_tok, config.n_shared_experts
    assert (config.num_local_experts, *chosen) == (64, 6, 2)
    assert ways(config) == math.comb(64, 6)
