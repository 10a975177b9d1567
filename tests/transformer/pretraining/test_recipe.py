"""What the pretraining chapter claims of its recipe, proved."""

import math

import pytest
import torch

from llmnotes import train
from llmnotes.transformer.attention import (
    MultiHeadAttention,
)
from llmnotes.transformer.gpt import GPT, MINIGPT, NANOGPT_CPU, parameters
from llmnotes.transformer.gpt.bigram import bigram_loss
from llmnotes.transformer.pretraining.muon import MuonAdamW
from llmnotes.transformer.pretraining.recipe import (
    Recipe,
    RecipeConfig,
    unit_heads,
)

SMALL = RecipeConfig(13, n_positions=11, n_embd=12, n_layer=2, n_head=3,
                     n_inner=20)  # fmt: skip


def text(length=3000):
    """Jumps of 1 and 5 in turn, mostly: more than pairs can know."""
    torch.manual_seed(0)
    odd = torch.arange(length) % 2
    jump = torch.where(torch.rand(length) < 0.9, 1 + 4 * odd, 1)
    return jump.cumsum(0) % 13


def small():
    torch.manual_seed(0)
    return Recipe(SMALL, text())


@pytest.mark.parametrize("shape", [MINIGPT, NANOGPT_CPU])
def test_the_recipe_has_no_more_parameters_than_the_plain_model(shape):
    ids = torch.arange(65)
    ours = Recipe(RecipeConfig(n_positions=shape.n_positions), ids)
    plain = parameters(GPT(shape))
    assert 0.99 * plain < parameters(ours) <= plain


def test_normalised_queries_and_keys_are_cosines_times_root_head_dim():
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(12, heads=3), torch.randn(2, 5, 12)
    query, key, _ = layer.split(x)
    cosine = torch.cosine_similarity(
        query[..., None, :], key[..., None, :, :], -1
    )
    torch.testing.assert_close(
        layer.weights(x, prepare=unit_heads),
        (2 * cosine).softmax(-1),
        rtol=1e-4,
        atol=1e-4,
    )
    with torch.no_grad():  # whatever the projection's size, the same
        before = layer(x, prepare=unit_heads)
        layer.q_proj.weight *= 10
        layer.q_proj.bias *= 10
    torch.testing.assert_close(layer(x, prepare=unit_heads), before)
    assert not torch.allclose(layer(x), before)


def test_untrained_it_is_the_pair_model():
    ids, config = text(), train.TrainConfig(block=11)
    loss = train.evaluate_all(small(), ids, config)
    assert loss == pytest.approx(bigram_loss(ids, ids, 13, 0.1), rel=1e-4)


def test_changing_the_future_changes_nothing():
    model = small()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    ids = text()[None, :9]
    before = model(ids)
    for t in range(8):
        changed = ids.clone()
        changed[:, t + 1 :] = (ids[:, t + 1 :] + 1) % 13
        after = model(changed)
        torch.testing.assert_close(after[:, : t + 1], before[:, : t + 1])
        assert not torch.allclose(after[:, t + 1 :], before[:, t + 1 :])


def test_it_learns_and_every_parameter_takes_part():
    model, ids = small(), text()
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    config = train.TrainConfig(
        steps=60, batch_size=8, block=11, warmup=5, learning_rate=3e-3,
        clip=0,
    )  # fmt: skip
    before = train.evaluate_all(model, ids, config)
    task = train.LanguageModelling(ids, ids, config)
    optimizer = MuonAdamW(model)
    train.fit(model, task, config, optimizer=optimizer, progress=False)
    assert train.evaluate_all(model, ids, config) < before
    for name, p in model.named_parameters():
        assert not torch.equal(p, start[name]), name


def test_one_learning_rate_reaches_both_optimizers():
    model = small()
    optimizer = MuonAdamW(model, ratio=7.0)
    inside = {id(p) for g in optimizer.param_groups for p in g["params"]}
    assert inside == {id(p) for p in model.parameters()}
    before = model.h[0].c_attn.weight.detach().clone()
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train.loss(model, text()[None, :9], text()[None, 1:10]).backward()
    optimizer.step()
    assert torch.equal(before, model.h[0].c_attn.weight)


@pytest.mark.parametrize("bad", [13, -1])
def test_ids_outside_the_vocabulary_are_named(bad):
    with pytest.raises(ValueError, match="^ids: got .* expected 0 to 12$"):
        small()(torch.tensor([[0, bad, 12]]))


def test_training_text_outside_the_vocabulary_is_named():
    with pytest.raises(
        ValueError, match="^ids: got 0 to 13, expected 0 to 12"
    ):
        Recipe(SMALL, torch.arange(14))


def test_what_reads_starts_at_half_of_one_over_root_inputs():
    torch.manual_seed(0)
    wide = RecipeConfig(40, 8, n_embd=256, n_layer=2, n_head=4, n_inner=400)
    model = Recipe(wide, torch.arange(40))
    for block in model.h:
        for layer in (block.c_attn, block.c_fc):
            std = 0.5 / math.sqrt(256)
            assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
            assert abs(layer.weight.mean().item()) < 0.01 * std
            assert layer.bias is None
        for p in (block.c_proj.weight, block.c_out.weight):
            assert not p.any()
        assert not block.mix_1.any() and not block.mix_2.any()
    assert not model.lm_head.weight.any() and model.lm_head.bias is None
    # Normalised before anyone reads it, so its scale is AdamW's affair only.
    assert model.wte.weight.std().item() == pytest.approx(1, rel=0.02)
    chances = model.bigram.weight.exp().sum(-1)
    torch.testing.assert_close(chances, torch.ones(40))
