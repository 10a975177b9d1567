"""What the chapter claims of the quick ways to decode, proved."""

import numpy as np
import pytest
import torch

from llmnotes.models.kv_cache import Lean, generate
from llmnotes.models.kv_cache.fast import Compiled, CompiledInt8
from llmnotes.models.kv_cache.packed import product, shared
from llmnotes.models.llama import Llama, LlamaConfig
from tests.models.kv_cache.tiny import KINDS, LONGEST, llama, some_ids
from tests.models.llama.tiny import FAMILY, SHAPE, theirs

MODELS = {
    name: llama(**kind).float()
    for name, kind in (
        KINDS | {"tied": dict(tie_word_embeddings=True)}
    ).items()
}
WAYS = {
    "lean": Lean,
    "one thread": lambda model: Compiled(model, 1),
    "two threads": Compiled,
    "three threads": lambda model: Compiled(model, 3),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_writes_the_same_text(name, way):
    model = MODELS[name]
    for length in (1, 6):
        ids = some_ids(1, length)
        right = generate(model, ids, 20, temperature=0)
        assert torch.equal(WAYS[way](model).generate(ids, 20), right)


@pytest.mark.parametrize(
    ("threads", "parts"), [(1, 1), (2, 2), (4, 2), (7, 1)]
)
def test_the_parts_of_a_matrix_are_the_matrix(monkeypatch, threads, parts):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    matrix, x = torch.randn(6, 5).double(), torch.randn(3, 5).double()
    cut = shared(matrix)
    assert cut.shape == (parts, 6 // parts, 5)
    assert torch.allclose(product(cut, x), x @ matrix.T)


@pytest.mark.parametrize("way", ["lean", "two threads"])
def test_texts_equal_hugging_face(way):
    for kind in ("GQA", "llama3 scaling"):
        other = theirs(FAMILY[kind])
        model = Llama(LlamaConfig(**SHAPE | FAMILY[kind]))
        model.load_state_dict(other.state_dict())
        ids = torch.tensor([[3, 1, 4, 1, 5]])
        right = other.generate(
            ids, max_new_tokens=20, do_sample=False, pad_token_id=0
        )
        assert torch.equal(WAYS[way](model).generate(ids, 20), right)


def test_eight_bits_are_off_by_half_a_step_and_read_a_quarter():
    model = MODELS["GQA"]
    exact, rough = Compiled(model), CompiledInt8(model)
    assert 4 * rough.bytes_per_token == exact.bytes_per_token
    for name in ("qkv", "out", "gate_up", "down", "head"):
        whole = getattr(rough.weights, name)
        scale = getattr(rough.weights, f"{name}_scale")[..., None]
        right = getattr(exact.weights, name)
        assert whole.dtype == np.int8
        assert (np.abs(whole * scale - right) <= 0.5001 * scale).all()


def test_eight_bits_write_what_the_rounded_weights_write():
    model = MODELS["GQA"]
    rough, rounded = CompiledInt8(model), Compiled(model)
    w = rough.weights
    kept = {
        name: getattr(w, name).astype(np.float32)
        * getattr(w, f"{name}_scale")[..., None]
        for name in ("qkv", "out", "gate_up", "down", "head")
    }
    rounded.weights = rounded.weights._replace(**kept)
    ids = some_ids(1)
    assert torch.equal(rough.generate(ids, 20), rounded.generate(ids, 20))


BAD = {
    "ids: got batch 2, expected 1": (some_ids(2), 3),
    "ids: got 6 tokens and 40 new ones, expected at most n_positions + 1 = "
    "41 in all": (some_ids(1), LONGEST),
    "new_tokens: got -1, expected at least 0": (some_ids(1), -1),
    "ids: got 99 to 99, expected 0 to 30": (torch.tensor([[99]]), 3),
}


@pytest.mark.parametrize(("message", "call"), BAD.items())
@pytest.mark.parametrize("way", ["lean", "two threads"])
def test_calls_that_cannot_be_answered_are_named(way, message, call):
    with pytest.raises(ValueError) as error:
        WAYS[way](MODELS["GQA"]).generate(*call)
    assert str(error.value) == message


def test_nothing_new_is_the_prompt():
    for way in WAYS.values():
        got = way(MODELS["GQA"]).generate(some_ids(1), 0)
        assert torch.equal(got, some_ids(1))
