"""Adapters on disk against peft: both ways, forward, gradients, merging."""

import json

import peft
import pytest
import torch
import transformers as hf
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from llmnotes.adaptation.lora import (
    DoRA,
    LowRank,
    RankStabilised,
    adapted,
    add_lora,
    load_adapter,
    merge,
    save_adapter,
    unload,
    using,
)
from llmnotes.adaptation.lora.files import CONFIG, WEIGHTS

RANK, ALPHA = 3, 5
IDS = torch.tensor([[1, 5, 12, 3, 3], [0, 7, 7, 2, 11]])
KINDS = {
    "lora": (LowRank, {}),
    "rslora": (RankStabilised, dict(use_rslora=True)),
    "dora": (DoRA, dict(use_dora=True)),
}
NONE = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
MODELS = {
    "gpt2": (
        hf.GPT2Config(vocab_size=13, n_positions=9, n_embd=12, n_layer=2,
                      n_head=3, **NONE),
        ["c_attn", "mlp.c_proj"],
    ),
    "llama": (
        hf.LlamaConfig(vocab_size=13, hidden_size=12, intermediate_size=20,
                       num_hidden_layers=2, num_attention_heads=3,
                       max_position_embeddings=9, **NONE),
        ["q_proj", "down_proj"],
    ),
}  # fmt: skip


def plain(name):
    torch.manual_seed(0)
    config = MODELS[name][0]
    return hf.AutoModelForCausalLM.from_config(config).eval()


def theirs(name, kind="lora"):
    """Their model with an adapter that has learned something."""
    model = peft.get_peft_model(
        plain(name),
        peft.LoraConfig(
            r=RANK, lora_alpha=ALPHA, target_modules=MODELS[name][1],
            fan_in_fan_out=name == "gpt2", **KINDS[kind][1],
        ),
    ).eval()  # fmt: skip
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) / 3)
    return model


@pytest.fixture(scope="module", params=[(m, k) for m in MODELS for k in KINDS],
                ids=" ".join)  # fmt: skip
def pair(request, tmp_path_factory):
    """Their model, and the same base with the adapter that they wrote."""
    name, kind = request.param
    model = theirs(name, kind)
    folder = tmp_path_factory.mktemp("theirs")
    model.save_pretrained(folder)
    return model, load_adapter(plain(name), folder), name


def loss_of(model):
    return model(IDS, labels=IDS).loss


def gradients(model):
    """{adapter's tensor: gradient} under common names."""
    model.zero_grad()
    loss_of(model).backward()
    return {
        common(name): p.grad
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def common(name):
    """Layer and letter of an adapter's tensor, whoever named it."""
    name = name.removeprefix("base_model.model.").removesuffix(".weight")
    for theirs, ours in (
        ("lora_A.default", "adapters.default.A"),
        ("lora_B.default", "adapters.default.B"),
        ("lora_magnitude_vector.default", "adapters.default.m"),
    ):
        name = name.replace(theirs, ours)
    return name


def test_their_adapter_gives_their_logits(pair):
    model, ours, _ = pair
    torch.testing.assert_close(
        ours(IDS).logits, model(IDS).logits, rtol=0, atol=1e-6
    )


def test_and_their_gradients(pair):
    model, ours, _ = pair
    mine, other = gradients(ours), gradients(model)
    assert mine.keys() == other.keys() and len(mine) > 7
    for name, grad in mine.items():
        torch.testing.assert_close(grad, other[name], rtol=1e-5, atol=1e-6)


def test_what_we_save_they_load(pair, tmp_path):
    model, ours, name = pair
    save_adapter(ours, tmp_path)
    loaded = peft.PeftModel.from_pretrained(plain(name), tmp_path).eval()
    torch.testing.assert_close(
        loaded(IDS).logits, model(IDS).logits, rtol=0, atol=1e-6
    )
    file = load_file(tmp_path / WEIGHTS)
    state = peft.get_peft_model_state_dict(model)
    assert file.keys() == state.keys()
    assert all(torch.equal(x, state[n]) for n, x in file.items())


def test_merged_weights_are_theirs(pair, tmp_path):
    model, ours, name = pair
    model.save_pretrained(tmp_path)  # merging would change the fixture's
    again = peft.PeftModel.from_pretrained(plain(name), tmp_path)
    merged = again.merge_and_unload().state_dict()
    mine = unload(merge(load_adapter(plain(name), tmp_path))).state_dict()
    assert mine.keys() == merged.keys()
    for tensor, weight in mine.items():
        torch.testing.assert_close(weight, merged[tensor], rtol=0, atol=1e-6)


def test_switched_off_it_is_the_base(pair):
    _, ours, name = pair
    with using(ours):
        assert torch.equal(ours(IDS).logits, plain(name)(IDS).logits)


@pytest.fixture
def saved(tmp_path):
    save_adapter(small(), tmp_path)
    return tmp_path


def small():
    torch.manual_seed(3)
    return add_lora(plain("llama"), RANK, ALPHA, MODELS["llama"][1])


def write(folder, **values):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(peft_type="IA3"), "peft_type: got 'IA3', expected 'LORA'"),
        (dict(bias="all"), "bias: got 'all'"),
        (dict(modules_to_save=["lm_head"]), "modules_to_save: got"),
        (dict(rank_pattern={"q": 3}), "rank_pattern: got"),
        (dict(use_dora=True, use_rslora=True), "got both"),
        (dict(r="8"), "r: got '8', expected a number"),
        (dict(lora_alpha=None), "lora_alpha: got None"),
        (dict(r=4), "got lora_A.weight of shape \\(3, 20\\), expected \\(4"),
        (dict(use_dora=True), "lora_magnitude_vector of shape nothing"),
        (dict(use_dora="false"), "use_dora: got 'false', expected true or"),
        (dict(r=0), "adapter_config.json: rank: got 0"),
        (dict(r=99), "adapter_config.json: rank: got 99, expected at most"),
        (dict(lora_alpha=0), "adapter_config.json: alpha: got 0"),
        (dict(lora_alpha=10**400), "adapter_config.json: alpha: got 1000"),
        (dict(kasa_config={}), "kasa_config: got {}, expected None"),
        *[
            (dict(init_lora_weights=x), f"init_lora_weights: got '{x}'")
            for x in (
                "pissa",
                "pissa_niter_4",
                "olora",
                "corda",
                "loftq",
                "lora_ga",
            )
        ],
    ],
)
def test_a_config_that_does_not_fit_is_refused_by_name(saved, values, message):
    write(saved, **values)
    model = plain("llama")
    with pytest.raises(ValueError, match=message) as caught:
        load_adapter(model, saved)
    assert str(saved) in str(caught.value)
    assert all(p.requires_grad for p in model.parameters())


def test_all_that_is_wrong_with_a_config_is_listed(saved):
    write(saved, bias="all", rank_pattern={"q": 3}, r=None)
    with pytest.raises(ValueError) as caught:
        load_adapter(plain("llama"), saved)
    assert str(caught.value).count("got") == 3


def rewrite(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def rename(tensors):
    name = next(iter(tensors))
    tensors[name.replace("layers.0", "layers.7")] = tensors.pop(name)


def spoil(tensors):
    next(iter(tensors.values()))[0, 0] = float("nan")


def whole(tensors):
    name = next(iter(tensors))
    tensors[name] = tensors[name].int()


def complex_(tensors):
    name = next(iter(tensors))
    tensors[name] = tensors[name] * 1j


def too_large(tensors):
    name = next(iter(tensors))
    tensors[name] = torch.full_like(tensors[name], 1e300, dtype=torch.float64)


def lose(tensors):
    tensors.pop(sorted(tensors)[0])


def add_foreign(tensors):
    tensors["base_model.model.lm_head.weight"] = torch.zeros(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename, "got adapters for model.layers.7"),
        (spoil, "got NaN or infinity in lora_A.weight"),
        (whole, "got torch.int32 in lora_A.weight, expected floats"),
        (complex_, "got torch.complex64 in lora_A.weight, expected floats"),
        (too_large, "got NaN or infinity in lora_A.weight"),
        (lose, "got lora_A.weight of shape nothing"),
        (add_foreign, "got a tensor base_model.model.lm_head.weight"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(ValueError, match=message):
        load_adapter(plain("llama"), saved)


def test_an_adapter_of_another_model_is_refused(saved):
    with pytest.raises(ValueError, match="got adapters for model.layers.0"):
        load_adapter(plain("gpt2"), saved)


def test_an_adapter_of_another_base_of_the_same_shape_is_refused(saved):
    other = plain("llama")
    torch.manual_seed(5)
    for layer in other.model.layers:
        torch.nn.init.normal_(layer.self_attn.q_proj.weight)
        torch.nn.init.normal_(layer.mlp.down_proj.weight)
    with pytest.raises(ValueError, match="got an adapter of another base"):
        load_adapter(other, saved)
    rewrite(saved, lambda tensors: None)  # whose notes say nothing of a base
    assert adapted(load_adapter(other, saved))


def test_the_same_base_in_other_bits_is_known_again(saved):
    assert adapted(load_adapter(plain("llama").bfloat16(), saved))
    model = plain("llama").requires_grad_(False)
    for layer in model.model.layers:
        for weight in (
            layer.self_attn.q_proj.weight,
            layer.mlp.down_proj.weight,
        ):
            step = weight.abs().amax(1, keepdim=True) / 7  # as in 4 bits
            weight.copy_((weight / step).round() * step)
    assert adapted(load_adapter(model, saved))


@pytest.mark.parametrize(
    "note",
    ["a1b2", "17", "[1, 2]", '["x"]', "{}", f"[{10**400}]", "[" * 9999],
)
def test_notes_that_say_nothing_are_refused(saved, note):
    path = saved / WEIGHTS
    save_file(load_file(path), path, metadata={"llmnotes.base": note})
    with pytest.raises(ValueError, match="in its notes, expected"):
        load_adapter(plain("llama"), saved)


def test_what_was_saved_is_read_again(saved):
    torch.manual_seed(9)
    model = load_adapter(plain("llama"), saved)
    assert torch.equal(model(IDS).logits, small()(IDS).logits)


def test_saved_while_merged_it_is_the_same_file(saved, tmp_path):
    model = merge(small())
    save_adapter(model, tmp_path / "merged")
    one, two = load_file(saved / WEIGHTS), load_file(
        tmp_path / "merged" / WEIGHTS)  # fmt: skip
    assert all(torch.equal(x, two[n]) for n, x in one.items())
    load_adapter(plain("llama"), tmp_path / "merged")


@pytest.mark.parametrize("cut", (0, 20, -9))
def test_a_file_that_was_cut_short_is_refused(saved, cut):
    path = saved / WEIGHTS
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="adapter_model.*cannot be read"):
        load_adapter(plain("llama"), saved)


def test_no_folder_and_no_such_adapter(tmp_path):
    with pytest.raises(ValueError, match="adapter_config.json: cannot be re"):
        load_adapter(plain("llama"), tmp_path / "none")
    with pytest.raises(ValueError, match="name: got 'b', expected one of de"):
        save_adapter(small(), tmp_path, "b")


def test_ranks_of_several_kinds_do_not_fit_into_one_file(tmp_path):
    model = add_lora(plain("llama"), 3, 3, "q_proj")
    add_lora(model, 2, 3, "k_proj")
    with pytest.raises(ValueError, match="got adapters of 2 kinds"):
        save_adapter(model, tmp_path)


@pytest.mark.parametrize("start", ["gaussian", "orthogonal", "eva", False])
def test_other_beginnings_that_leave_the_base_alone_are_fine(saved, start):
    write(saved, init_lora_weights=start)
    assert adapted(load_adapter(plain("llama"), saved))


def test_a_base_of_zeros_and_a_note_of_whole_numbers(tmp_path):
    def zeros():
        layer = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False))
        torch.nn.init.zeros_(layer[0].weight)
        return layer

    save_adapter(add_lora(zeros(), 2, 2), tmp_path)
    assert adapted(load_adapter(zeros(), tmp_path))
    path = tmp_path / WEIGHTS
    note = json.dumps([0] * 8)
    save_file(load_file(path), path, metadata={"llmnotes.base": note})
    assert adapted(load_adapter(zeros(), tmp_path))
    with pytest.raises(ValueError, match="adapter of another base"):
        load_adapter(torch.nn.Sequential(torch.nn.Linear(4, 4)), tmp_path)


def test_an_adapter_for_a_tied_head_is_refused(tmp_path):
    model = plain("llama")
    save_adapter(add_lora(model, 2, 2, "lm_head"), tmp_path)
    tied = plain("llama")
    tied.lm_head.weight = tied.model.embed_tokens.weight
    with pytest.raises(ValueError, match="lm_head, whose weight is tied"):
        load_adapter(tied, tmp_path)
    assert all(p.requires_grad for p in tied.parameters())


def test_names_of_compiled_blocks_are_those_of_plain_ones(tmp_path):
    def compiled():
        model = plain("llama")
        for i, layer in enumerate(model.model.layers):
            layer.mlp.down_proj = torch.compile(layer.mlp.down_proj)
            model.model.layers[i] = torch.compile(layer, backend="eager")
        return model

    model = add_lora(compiled(), 2, 2, ["q_proj", "_orig_mod"])
    assert len(adapted(model)) == 4
    save_adapter(model, tmp_path)
    assert not any("_orig_mod" in name for name in load_file(
        tmp_path / WEIGHTS))  # fmt: skip
    assert "_orig_mod" not in (tmp_path / CONFIG).read_text()
    for other in plain("llama"), compiled():
        assert len(adapted(load_adapter(other, tmp_path))) == 4


def test_a_kind_that_no_file_can_name_is_refused(tmp_path):
    class Mine(LowRank):
        pass

    model = add_lora(plain("llama"), 2, 2, "q_proj", Mine)
    with pytest.raises(ValueError, match="got an adapter of kind Mine"):
        save_adapter(model, tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("taken", [CONFIG, WEIGHTS])
def test_files_are_written_both_or_not_at_all(saved, taken, monkeypatch):
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    (saved / taken).unlink()
    (saved / taken).mkdir()
    with pytest.raises(ValueError, match=f"{taken}: is no file"):
        save_adapter(small(), saved)
    (saved / taken).rmdir()
    (saved / taken).write_bytes(before[taken])

    def fail(*args, **kwargs):
        raise SafetensorError("no space left")

    monkeypatch.setattr("llmnotes.adaptation.lora.files.save_file", fail)
    with pytest.raises(OSError, match="cannot be written: no space left"):
        save_adapter(add_lora(plain("llama"), 1, 1), saved)
    assert {p.name: p.read_bytes() for p in saved.iterdir()} == before
