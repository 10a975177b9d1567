"""Models of ours in one file, read by us, by gguf and by transformers."""

import json
import warnings
from dataclasses import asdict, replace
from pkgutil import resolve_name

import gguf as theirs
import jaxtyping
import numpy as np
import pytest
import torch
import transformers as hf

from llmnotes import presets
from llmnotes.adaptation.lora import add_lora
from llmnotes.adaptation.qlora import to_nf4
from llmnotes.adaptation.quantization import gguf, quantize, saved
from llmnotes.foundations.tokenizers import train
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.transformer.gpt import GPT, GPTConfig
from llmnotes.weights import weights

SYMBOLS = "".join(map(chr, range(60, 93)))
SMALL = {
    "gpt": dict(vocab_size=33, n_positions=19, n_embd=64, n_layer=2, n_head=4),
    "llama": dict(
        vocab_size=33,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=19,
        rms_norm_eps=1e-5,
    ),
}
SMALL["mistral"] = SMALL["llama"] | {"sliding_window": 5}
SMALL["mixtral"] = SMALL["llama"] | {"num_local_experts": 3}
SMALL["phi"] = SMALL["llama"] | {"num_key_value_heads": 4}


def build(name, **changes):
    """A small model with random gains and biases, and what is said of it."""
    entry = presets.model(name)
    config = resolve_name(entry.config)(**SMALL[name] | changes)
    torch.manual_seed(0)
    model = resolve_name(entry.build)(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    about = {"model": name, "shape": asdict(config), "symbols": SYMBOLS}
    return model, about


def ids(length=11):
    return torch.arange(length)[None] * 7 % 33


@pytest.mark.parametrize("name", presets.MODELS)
def test_a_file_of_floats_is_the_model(name, tmp_path):
    model, about = build(name)
    path = tmp_path / "model.gguf"
    saved.save(path, model, about, "f32")
    found = saved.load(path)
    assert found.about == about and found.tokenizer is None
    assert type(found.model) is type(model)
    assert found.model.config == model.config and not found.model.training
    own = weights(found.model)
    for key, value in weights(model).items():
        assert torch.equal(own[key], value), key
    assert torch.equal(found.model(ids()), model(ids()))


@pytest.mark.parametrize("name", presets.MODELS)
@pytest.mark.parametrize("kind", ["q8_0", "q4_k"])
def test_a_quantized_file_is_the_model_of_quantized_matrices(
    name, kind, tmp_path
):
    model, about = build(name)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    tensors = saved.save(tmp_path / "model.gguf", model, about, kind)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    found = saved.load(tmp_path / "model.gguf").model
    family = saved.FAMILIES[name]
    for key, weight in weights(model).items():
        pieces = family.theirs(key, weight, model.config)
        for theirs_, piece in pieces.items():
            stored = tensors[theirs_]
            again = type(stored).encode(piece).dequantize()
            assert torch.equal(stored.dequantize(), again)
            pieces[theirs_] = again
        back = family.ours(key, pieces, model.config)
        assert torch.equal(weights(found)[key], back), key
    off = (found(ids()) - model(ids())).abs().max()
    assert (
        0 < off < (0.05 if kind == "q8_0" else 0.3) * model(ids()).abs().max()
    )


def test_a_row_belongs_to_an_output(tmp_path):
    """GPT-2 stores its matrices the other way round; blocks do not care."""
    model, about = build("gpt")
    tensors = saved.save(tmp_path / "model.gguf", model, about, "q8_0")
    stored = model.transformer.h[1].mlp.c_proj.weight
    assert stored.shape == (256, 64)
    found = tensors["blk.1.ffn_down.weight"]
    assert found.shape == (64, 256)
    assert torch.equal(found.raw, quantize(stored.T, "q8_0").raw)


def test_what_is_small_or_does_not_divide_stays(tmp_path):
    model, about = build("gpt", n_embd=96, n_head=3, n_layer=1)
    tensors = saved.save(tmp_path / "model.gguf", model, about, "q4_k")
    kinds = {name: kept.name() for name, kept in tensors.items()}
    assert kinds["blk.0.attn_norm.weight"] == "f32"
    assert kinds["blk.0.ffn_up.bias"] == "f32"
    assert kinds["position_embd.weight"] == "f32"
    assert kinds["blk.0.attn_qkv.weight"] == "q5_0"  # rows of 96
    assert kinds["token_embd.weight"] == "q5_0"
    wide, about = build("gpt", n_embd=256, n_layer=1)
    tensors = saved.save(tmp_path / "model.gguf", wide, about, "q4_k")
    assert tensors["blk.0.attn_qkv.weight"].name() == "q4_k"
    odd, about = build("gpt", n_embd=20, n_layer=1)
    tensors = saved.save(tmp_path / "model.gguf", odd, about, "q4_k")
    assert {kept.name() for kept in tensors.values()} == {"f32"}
    mixed, about = build("mixtral")
    tensors = saved.save(tmp_path / "model.gguf", mixed, about, "q8_0")
    assert tensors["blk.0.ffn_gate_inp.weight"].name() == "f32"
    assert tensors["blk.0.ffn_up_exps.weight"].name() == "q8_0"
    assert tensors["blk.0.ffn_up_exps.weight"].shape == (3, 96, 64)


def transformers_reads(folder, kind, **options):
    """The model that transformers makes of model.gguf in a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind.from_pretrained(
            folder, gguf_file="model.gguf", dtype=torch.float32, **options
        ).eval()


# Of a GPT-2 it does not read how many positions and tokens there are.
THEIRS = {
    "gpt": (hf.GPT2LMHeadModel, {"config": hf.GPT2Config(**SMALL["gpt"])}),
    "llama": (hf.LlamaForCausalLM, {}),
}


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("kind", ["f32", "q8_0", "q4_0"])
def test_transformers_makes_the_same_model_of_a_file(name, kind, tmp_path):
    model, about = build(name)
    saved.save(tmp_path / "model.gguf", model, about, kind)
    found = saved.load(tmp_path / "model.gguf").model
    build_theirs, options = THEIRS[name]
    other = transformers_reads(tmp_path, build_theirs, **options)
    with torch.no_grad():
        torch.testing.assert_close(other(ids()).logits, found(ids()))


@pytest.mark.parametrize("name", presets.MODELS)
def test_names_are_those_that_gguf_knows(name, tmp_path):
    model, about = build(name)
    saved.save(tmp_path / "model.gguf", model, about, "q8_0")
    reader = theirs.GGUFReader(tmp_path / "model.gguf")
    known = {v: k for k, v in theirs.MODEL_ARCH_NAMES.items()}
    architecture = reader.fields["general.architecture"].contents()
    parts = theirs.MODEL_TENSORS[known[architecture]]
    names = {theirs.TENSOR_NAMES[part] for part in parts}
    for tensor in reader.tensors:
        stem, _, end = tensor.name.rpartition(".")
        assert end in ("weight", "bias")
        pattern = stem
        if stem.startswith("blk."):
            number = stem.split(".")[1]
            pattern = stem.replace(f"blk.{number}.", "blk.{bid}.", 1)
        assert pattern in names, tensor.name


def test_facts_are_those_of_the_shape(tmp_path):
    model, about = build("mistral")
    saved.save(tmp_path / "model.gguf", model, about, "q4_k")
    facts = gguf.read(tmp_path / "model.gguf").facts
    assert facts["general.architecture"] == "llama"
    assert facts["general.file_type"] == 14
    assert facts["llama.block_count"] == 2
    assert facts["llama.embedding_length"] == 64
    assert facts["llama.attention.head_count_kv"] == 2
    assert facts["llama.attention.sliding_window"] == 5
    assert facts["llama.rope.dimension_count"] == 16
    assert np.float32(facts["llama.rope.freq_base"]) == 10000
    assert facts["llama.vocab_size"] == 33
    assert facts["tokenizer.ggml.tokens"] == list(SYMBOLS)


def test_tied_embeddings_are_stored_once(tmp_path):
    model, about = build("llama", tie_word_embeddings=True)
    tensors = saved.save(tmp_path / "model.gguf", model, about, "f32")
    assert "output.weight" not in tensors
    found = saved.load(tmp_path / "model.gguf").model
    assert found.config.tie_word_embeddings
    assert torch.equal(found(ids()), model(ids()))


def test_pieces_lie_in_the_file_as_well(tmp_path):
    tokenizer = train("so many words, so many more words " * 9, 265)
    config = replace(GPTConfig(**SMALL["gpt"]), vocab_size=tokenizer.size)
    about = {"model": "gpt", "shape": asdict(config), "pieces": "some digest"}
    path = tmp_path / "model.gguf"
    saved.save(path, GPT(config), about, "f16", tokenizer)
    found = saved.load(path).tokenizer
    assert found.merges == tokenizer.merges
    text = "so many more words, né?"
    assert found.encode(text) == tokenizer.encode(text)
    assert found.decode(found.encode(text)) == text


def test_what_is_not_ours_is_refused(tmp_path):
    path = tmp_path / "theirs.gguf"
    gguf.write(path, {"general.architecture": "llama"}, {})
    with pytest.raises(ValueError) as error:
        saved.load(path)
    assert str(error.value) == (
        f"{path}: got no shape of a model of ours ('llmnotes.about'), "
        "expected a file that llmnotes quantize wrote"
    )


@pytest.fixture
def unwatched():
    """As readers call it: nobody enforces annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def said(**changes):
    """What a file may say of a small GPT, as JSON."""
    shape = SMALL["gpt"] | changes.pop("shape", {})
    about = {"model": "gpt", "shape": shape, "symbols": SYMBOLS} | changes
    return json.dumps(about)


@pytest.mark.parametrize(
    "about",
    [
        "[]", "{", "null", "[" * 9999, '{"model": "rwkv"}',
        '{"model": "gpt"}', said(symbols=3), said(symbols=""),
        said(symbols="abc"), said(shape=dict(layer_norm_epsilon="x")),
        said(shape=dict(n_head=0)), said(pieces="a1b2"), 5,
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unwatched")
def test_a_shape_that_cannot_be_is_refused(about, tmp_path):
    path = tmp_path / "odd.gguf"
    gguf.write(path, {saved.ABOUT: about}, {})
    with pytest.raises(ValueError) as error:
        saved.load(path)
    assert str(error.value).startswith(
        f"{path}: got no shape of a model of ours"
    )
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(n_layer=10**6), "got tensors of 2 blocks, expected 1000000"),
        (dict(n_embd=2**20), "got weights of another model: .* is"),
        (dict(n_embd=2**62, n_head=1), "got a shape of no model"),
        (dict(n_positions=10**9), "position_embd.weight is .19, 64., exp"),
    ],
)
def test_no_model_is_made_that_the_tensors_do_not_fill(
    change, message, tmp_path, monkeypatch
):
    model, about = build("gpt")
    path = tmp_path / "model.gguf"
    tensors = saved.save(path, model, about, "q8_0")
    facts = gguf.read(path).facts | {saved.ABOUT: said(shape=change)}
    gguf.write(path, facts, tensors)
    with pytest.raises(ValueError, match=message) as error:
        saved.load(path)
    assert str(error.value).startswith(str(path))


def test_a_file_that_lacks_a_tensor_or_has_another_shape_is_named(tmp_path):
    model, about = build("llama")
    path = tmp_path / "model.gguf"
    tensors = saved.save(path, model, about, "f32")
    facts = gguf.read(path).facts
    lost = {k: v for k, v in tensors.items() if k != "blk.1.attn_k.weight"}
    gguf.write(path, facts, lost)
    with pytest.raises(ValueError) as error:
        saved.load(path)
    assert str(error.value) == (
        f"{path}: got no tensor blk.1.attn_k.weight, expected one"
    )
    other, _ = build("llama", intermediate_size=64)
    saved.save(path, other, about, "f32")
    with pytest.raises(ValueError, match="got weights of another model"):
        saved.load(path)


def test_what_cannot_be_saved_is_named_and_leaves_no_file(tmp_path):
    model, about = build("llama")
    path = tmp_path / "model.gguf"
    with pytest.raises(ValueError, match="kind: got 'nf4', expected one of"):
        saved.save(path, model, about, "nf4")
    with pytest.raises(ValueError, match="model: got 'rnn', expected one of"):
        saved.save(path, model, {"model": "rnn"}, "q8_0")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 5] = torch.nan
    with pytest.raises(ValueError) as error:
        saved.save(path, model, about, "q8_0")
    assert str(error.value) == (
        "blk.1.ffn_up.weight: got 1 times NaN or infinity, expected finite "
        "numbers"
    )
    assert not path.exists()


def test_a_model_in_a_wrapper_is_saved_as_without(tmp_path):
    model, about = build("gpt")
    saved.save(tmp_path / "one", model, about, "q8_0")
    saved.save(tmp_path / "two", torch.nn.DataParallel(model), about, "q8_0")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def adapters(model, about):
    return add_lora(model, 2, 2), about


def four_bits(model, about):
    return to_nf4(model), about


def another(model, about):
    return build("llama")[0], about


def mute(model, about):
    return model, {k: v for k, v in about.items() if k != "symbols"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (adapters, "model: got a weight transformer.*, which has no name in"),
        (four_bits, "model: got a weight transformer.*, which has no name in"),
        (another, "model: got Llama, expected GPT, which about calls 'gpt'"),
        (mute, "about: symbols: got None, expected the characters"),
    ],
)
def test_another_model_than_is_said_is_refused(change, message, tmp_path):
    model, about = change(*build("gpt"))
    with pytest.raises(ValueError, match=message):
        saved.save(tmp_path / "model.gguf", model, about, "q8_0")
    assert not list(tmp_path.iterdir())


def test_the_summary_counts_weights_bytes_and_formats(tmp_path):
    model, about = build("llama")
    tensors = saved.save(tmp_path / "model.gguf", model, about, "q8_0")
    count = sum(p.numel() for p in model.parameters())
    size = sum(kept.nbytes for kept in tensors.values())
    said = saved.summary(tensors)
    assert said.startswith(f"{count:,} weights in {size:,} bytes, ")
    assert said.endswith("tensors: 16 q8_0, 5 f32")
    assert (tmp_path / "model.gguf").stat().st_size > size


def test_llamas_rows_are_turned_and_turned_back():
    config = LlamaConfig(**SMALL["llama"])
    name = "model.layers.0.self_attn.k_proj.weight"
    weight = Llama(config).state_dict()[name]
    pieces = saved.FAMILIES["llama"].theirs(name, weight, config)
    ((there, turned),) = pieces.items()
    assert there == "blk.0.attn_k.weight"
    # Pair i of a head is (i, i + half) here, (2i, 2i + 1) there.
    assert torch.equal(turned[16 + 2 * 3], weight[16 + 3])
    assert torch.equal(turned[16 + 2 * 3 + 1], weight[16 + 3 + 8])
