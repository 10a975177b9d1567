"""Adapters for whole models: where they go, what they leave alone."""

import copy

import jaxtyping
import pytest
import torch
import transformers as hf
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
from llmnotes.models.moe import Mixtral, MixtralConfig
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


def mixtral():
    torch.manual_seed(0)
    return Mixtral(
        MixtralConfig(
            vocab_size=13, hidden_size=12, intermediate_size=20,
            num_hidden_layers=2, num_attention_heads=3,
            num_key_value_heads=3, max_position_embeddings=9,
            num_local_experts=3,
        )
    ).eval()  # fmt: skip


def scatter(model):
    """Let adapters have learned something."""
    torch.manual_seed(1)
    with torch.no_grad():
        for layer in adapted(model).values():
            for p in layer.adapters.parameters():
                p.add_(torch.randn_like(p) / 3)
    return model


@pytest.mark.parametrize("build", (gpt, llama, bert, mixtral))
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


def test_all_linear_leaves_routers_alone():
    paths = adapted(add_lora(mixtral(), 2, 2)).keys()
    assert {path.split(".")[-1] for path in paths} == {
        "q_proj", "k_proj", "v_proj", "o_proj",
    }  # fmt: skip


WORDS = dict(vocab_size=13, bos_token_id=None, eos_token_id=None,
             pad_token_id=None)  # fmt: skip


def their_bert():
    return hf.BertForMaskedLM(
        hf.BertConfig(**WORDS, hidden_size=12, num_hidden_layers=1,
                      num_attention_heads=3, intermediate_size=20)
    )  # fmt: skip


def whisper():
    return hf.WhisperForConditionalGeneration(
        hf.WhisperConfig(**WORDS, d_model=12, encoder_layers=1,
                         decoder_layers=1, encoder_attention_heads=3,
                         decoder_attention_heads=3, encoder_ffn_dim=16,
                         decoder_ffn_dim=16, decoder_start_token_id=1)
    )  # fmt: skip


class Scored(nn.Module):
    """A head without a name that we know, which shares the embedding."""

    def __init__(self):
        super().__init__()
        self.table, self.inner = nn.Embedding(13, 6), nn.Linear(6, 6)
        self.score = nn.Linear(6, 13, bias=False)
        self.score.weight = self.table.weight


class Handed(Scored):
    """One that shares nothing, and that the model hands out."""

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(6, 13)

    def get_output_embeddings(self):
        return self.score


@pytest.mark.parametrize("build", [their_bert, whisper, Scored, Handed])
def test_all_linear_leaves_heads_of_any_name_alone(build):
    paths = adapted(add_lora(build(), 2, 2)).keys()
    words = {path.split(".")[-1] for path in paths}
    assert paths and not words & {"decoder", "proj_out", "score"}
    if build is Handed:  # by its name it is found all the same
        assert adapted(add_lora(build(), 2, 2, "score"))


def torchs():
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(12, 2, 20, batch_first=True).eval()


@pytest.mark.parametrize("gradient", [True, False])
def test_who_reads_weights_past_a_layer_reads_the_adapters_too(gradient):
    """PyTorch's encoder does, and its attention with the last projection."""
    model = scatter(add_lora(torchs(), 2, 2))
    assert len(adapted(model)) == 3
    x = torch.randn(2, 5, 12)
    with torch.set_grad_enabled(gradient):
        found = model(x)
    if gradient:
        found.sum().backward()
        assert all(p.grad is not None for p in model.parameters()
                   if p.requires_grad)  # fmt: skip
    assert not torch.allclose(found, torchs()(x), atol=1e-2)
    unload(merge(model))
    torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-5)


def test_t5_asks_a_layer_for_its_dtype():
    config = hf.T5Config(vocab_size=13, d_model=12, d_kv=4, d_ff=20,
                         num_layers=1, num_heads=3,
                         decoder_start_token_id=0)  # fmt: skip
    torch.manual_seed(0)
    model = hf.T5ForConditionalGeneration(config).eval()
    before = model(input_ids=IDS, labels=IDS).logits
    adapted_ = add_lora(model, 2, 2)
    torch.testing.assert_close(
        adapted_(input_ids=IDS, labels=IDS).logits, before
    )


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


@pytest.fixture
def unwatched():
    """As readers call it: nobody enforces annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def half_merged():
    model = add_lora(gpt(), 2, 2, "c_attn")
    next(iter(adapted(model).values())).merge()
    return model


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize(
    ("build", "change", "message"),
    [
        (gpt, dict(rank=13), "rank: got 13, expected at most 12"),
        (gpt, dict(targets="q_proj"),
         "targets: got 'q_proj', which matches no layer.*c_attn, c_fc"),
        (gpt, dict(targets=["c_fc", "proj"]), "targets: got 'proj'"),
        (gpt, dict(targets=[]), "targets: got \\[\\]"),
        (lambda: nn.LayerNorm(3), {}, "no linear layer below it"),
        (gpt, dict(targets=None), "targets: got None, expected 'all-linear'"),
        (gpt, dict(targets=5), "targets: got 5"),
        (gpt, dict(targets=["c_fc", 5]), "targets: got .'c_fc', 5."),
        (gpt, dict(name="keys"), "name: got 'keys'"),
        (mixtral, dict(targets="gate"), "targets: got 'gate', which matches"),
        (Tied, dict(targets="score"), "whose weight is tied"),
        (Tied, {}, "targets: got 'all-linear', which matches no layer"),
        (half_merged, dict(targets="c_fc", name="b"), "merged already"),
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


@pytest.mark.usefixtures("unwatched")
def test_names_twice_or_in_a_list_are_refused():
    model = add_lora(add_lora(gpt(), 2, 2, name="a"), 2, 2, name="b")
    for names in (["a", "b"],), ("b", "b"):
        with pytest.raises(ValueError, match="name: got"):
            use(model, *names)
    assert {x.active for x in adapted(model).values()} == {("b",)}


@pytest.mark.parametrize("change", [merge, unmerge, use])
def test_a_model_that_is_half_merged_is_refused_and_not_touched(change):
    model = add_lora(gpt(), 2, 2)
    first, *_, last = adapted(model).values()
    last.merge()
    with pytest.raises(ValueError, match="merged"):
        change(model)
    assert first.original is None and first.active == ("default",)
    assert last.original is not None


def test_a_merge_that_is_interrupted_is_taken_back(monkeypatch):
    model = scatter(add_lora(gpt(), 2, 2))
    layers = list(adapted(model).values())
    before = [x.base.weight.clone() for x in layers]

    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(layers[-1], "merge", interrupt)
    with pytest.raises(KeyboardInterrupt):
        merge(model)
    for layer, weight in zip(layers, before, strict=True):
        assert torch.equal(layer.base.weight, weight)
        assert layer.original is None


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
