"""That the ablation compares what it says."""

import pytest
import torch
from torch import nn

from llmnotes.transformer.gpt import parameters
from tests.models.llama.training_runs import (
    ABLATION,
    GOAL,
    OLD,
    Gelu,
    built,
)


@pytest.mark.parametrize("name", ABLATION)
def test_every_variant_has_llama_s_parameters(name):
    model = built(name)
    assert parameters(model) == pytest.approx(GOAL, rel=1e-3)
    ids = torch.randint(65, (2, 9))
    assert model(ids).isfinite().all()


def test_the_old_one_is_gpt_2_s():
    model = built(OLD)
    block = model.model["layers"][0]
    assert isinstance(block.input_layernorm, nn.LayerNorm)
    assert block.input_layernorm.bias is not None
    assert isinstance(block.mlp, Gelu)
    assert all(
        m.bias is not None for m in model.modules() if isinstance(m, nn.Linear)
    )
    assert block.self_attn.kv_heads == block.self_attn.heads
    assert model.head() is model.model["embed_tokens"].weight


def test_a_table_of_positions_tells_the_order_and_nothing_else_does():
    model = built(OLD).double()
    with torch.no_grad():
        model.model["embed_tokens"].places.weight.normal_()
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    ids = torch.tensor([[1, 2, 3, 4]])
    swapped = torch.tensor([[2, 1, 3, 4]])
    assert not torch.allclose(model(ids)[:, -1], model(swapped)[:, -1])
