"""Adapters for whole models: where they go, what they leave alone."""

import copy

import pytest
import torch
from torch import nn

from llmnotes import train
from llmnotes.adaptation.lora import (
    ALL_LINEAR,
    DoRA,
    LowRank,
    RankStabilised,
    adapted,
    add_lora,
    merge,
    unload,
    unmerge,
    use,
    using,
)
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.transformer.bert import Bert, BertConfig
from llmnotes.transformer.gpt import GPT, GPTConfig
from llmnotes.transformer.training_step import FusedGPT

SHAPE = GPTConfig(13, n_positions=9, n_embd=12, n_layer=2, n_head=3)
IDS = torch.tensor([[1, 5, 12, 3, 3], [0, 7, 7, 2, 11]])


def gpt(kind=GPT):
    torch.manual_seed(0)
    return kind(SHAPE).eval()


def llama():
    torch.manual_seed(0)
    return Llama(
        LlamaConfig(
            vocab_size=13, hidden_size=12, intermediate_size=20,
            num_hidden_layers=2, num_attention_heads=3,
            num_key_value_heads=3, max_position_embeddings=9,
        )
    ).eval()  # fmt: skip


def bert():
    torch.manual_seed(0)
    return Bert(BertConfig(13, 12, 2, 3, 20, 9)).eval()


def scatter(model):
    """Let adapters have learned something."""
    torch.manual_seed(1)
    with torch.no_grad():
        for layer in adapted(model).values():
            for p in layer.adapters.parameters():
                p.add_(torch.randn_like(p) / 3)
    return model


@pytest.mark.parametrize("build", (gpt, llama, bert))
@pytest.mark.parametrize("kind", (LowRank, RankStabilised, DoRA))
def test_a_model_begins_as_itself_and_merges_into_one_of_its_kind(build, kind):
    plain = build()
    model = add_lora(build(), 2, 3.0, kind=kind)
    torch.testing.assert_close(model(IDS), plain(IDS))
    moved = scatter(model)(IDS)
    assert not torch.allclose(moved, plain(IDS))
    unload(merge(model))
    torch.testing.assert_close(model(IDS), moved, rtol=1e-4, atol=1e-5)
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_all_linear_leaves_the_head_and_the_norms_alone():
    paths = adapted(add_lora(llama(), 2, 2)).keys()
    words = {path.split(".")[-1] for path in paths}
    assert words == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
        "down_proj",
    }  # fmt: skip
    assert len(paths) == 14


@pytest.mark.parametrize(
    ("targets", "count"),
    [("c_attn", 2), ("c_proj", 4), (["attn.c_proj", "c_fc"], 4),
     ("h.1.mlp.c_proj", 1), (ALL_LINEAR, 8)],
)  # fmt: skip
def test_targets_are_last_words_of_paths(targets, count):
    model = add_lora(gpt(), 2, 2, targets)
    assert len(adapted(model)) == count


def test_training_moves_adapters_and_nothing_else_by_a_bit():
    model = add_lora(gpt(), 2, 2)
    before = {n: p.clone() for n, p in model.named_parameters()}
    config = train.TrainConfig(steps=3, batch_size=2, block=5, warmup=0,
                               eval_every=3, eval_batches=1)  # fmt: skip
    ids = torch.arange(60) % 13
    task = train.LanguageModelling(ids, ids, config)
    train.fit(model, task, config, progress=False)
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) != (".adapters." in name), name
    assert sum(p.requires_grad for p in model.parameters()) == 16


def test_the_quick_model_learns_with_adapters_as_the_plain_one_does():
    """Its fused step must notice that a layer has been replaced."""
    found = []
    for kind in (GPT, FusedGPT):
        model = scatter(add_lora(gpt(kind).train(), 2, 3.0))
        loss = train.loss(model, IDS[:, :-1], IDS[:, 1:])
        loss.backward()
        grads = [p.grad for p in model.parameters() if p.requires_grad]
        found.append([loss, *grads])
    for plain, quick in zip(*found, strict=True):
        torch.testing.assert_close(quick, plain, rtol=1e-4, atol=1e-6)


def test_two_adapters_share_one_base():
    model = scatter(add_lora(gpt(), 2, 2, name="one"))
    one = model(IDS)
    plain = gpt()(IDS)
    torch.testing.assert_close(add_lora(model, 3, 2, name="two")(IDS), plain)
    torch.testing.assert_close(use(model, "one")(IDS), one)
    with using(model):
        torch.testing.assert_close(model(IDS), plain)
    torch.testing.assert_close(model(IDS), one)
    sizes = {a.rank for x in adapted(model).values()
             for a in x.adapters.values()}  # fmt: skip
    assert sizes == {2, 3}


def test_using_gives_back_what_was_active_after_an_error():
    model = scatter(add_lora(gpt(), 2, 2))
    before = model(IDS)
    with pytest.raises(RuntimeError), using(model):
        raise RuntimeError
    assert torch.equal(model(IDS), before)


def test_unmerge_brings_every_bit_back():
    model = scatter(add_lora(gpt(), 2, 2))
    state = copy.deepcopy(model.state_dict())
    unmerge(merge(model))
    assert all(torch.equal(x, state[n]) for n, x in model.state_dict().items())


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(13, 6)
        self.score = nn.Linear(6, 13, bias=False)
        self.score.weight = self.table.weight


@pytest.mark.parametrize(
    ("build", "change", "message"),
    [
        (gpt, dict(rank=13), "rank: got 13, expected at most 12"),
        (gpt, dict(targets="q_proj"),
         "targets: got 'q_proj', which matches no layer.*c_attn, c_fc"),
        (gpt, dict(targets=["c_fc", "proj"]), "targets: got 'proj'"),
        (gpt, dict(targets=[]), "targets: got \\[\\]"),
        (lambda: nn.LayerNorm(3), {}, "no linear layer below it"),
        (Tied, dict(targets="score"), "whose weight is tied"),
        (lambda: add_lora(gpt(), 2, 2), {}, "name: got 'default', which"),
        (lambda: merge(add_lora(gpt(), 2, 2)), dict(name="b"),
         "merged already"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_the_model_not_touched(
    build, change, message
):
    model = build()
    before = {n: (p.clone(), p.requires_grad) for n, p in
              model.named_parameters()}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        add_lora(model, **dict(rank=2, alpha=2) | change)
    after = dict(model.named_parameters())
    assert after.keys() == before.keys()
    for name, (p, trained) in before.items():
        assert torch.equal(p, after[name])
        assert after[name].requires_grad == trained


def test_a_model_without_adapters_cannot_be_merged():
    for change in (merge, unmerge, unload, use):
        with pytest.raises(ValueError, match="GPT without adapters"):
            change(gpt())


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="name: got 'b', expected one of de"):
        use(add_lora(gpt(), 2, 2), "b")


def test_merging_twice_is_refused_and_half_a_merge_is_taken_back():
    model = scatter(add_lora(gpt(), 2, 2))
    before = model(IDS)
    with torch.no_grad():  # the last of them cannot be merged
        list(adapted(model).values())[-1].adapters["default"].B.fill_(
            float("inf")
        )
    weights = [x.base.weight.clone() for x in adapted(model).values()]
    with pytest.raises(ValueError, match="NaN or infinity"):
        merge(model)
    for layer, weight in zip(adapted(model).values(), weights, strict=True):
        assert torch.equal(layer.base.weight, weight)
    model = scatter(add_lora(gpt(), 2, 2))
    merge(model)
    with pytest.raises(ValueError, match="merged already"):
        merge(model)
    torch.testing.assert_close(model(IDS), before, rtol=1e-4, atol=1e-5)
