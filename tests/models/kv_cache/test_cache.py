"""What the chapter claims of the cache, proved."""

import pytest
import torch

from llmnotes.models.kv_cache import GrowingCache, KVCache, cache_bytes
from llmnotes.transformer.gpt import left_padded
from tests.models.kv_cache.tiny import (
    PROMPTS,
    VOCAB,
    gpt,
    llama,
    models,
    some_ids,
    splits,
)

MODELS = models()


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("name", MODELS)
def test_after_any_split_the_logits_are_those_of_the_whole_text(name):
    model, ids = MODELS[name], some_ids(length=5)
    whole = model(ids)
    for sizes in splits(5):
        past = KVCache(5)
        parts = [model(part, past=past) for part in ids.split(sizes, 1)]
        torch.testing.assert_close(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("name", MODELS)
def test_a_padded_row_has_the_logits_it_has_alone_after_any_split(name):
    model, (ids, mask) = MODELS[name], left_padded(PROMPTS, pad=7)
    alone = [model(torch.tensor([prompt]))[0] for prompt in PROMPTS]
    for sizes in splits(5):
        past, parts = GrowingCache(1), []
        for part in ids.split(sizes, 1):
            known = mask[:, : past.length + part.shape[1]]
            parts.append(model(part, known, past=past))
        for row, real, right in zip(
            torch.cat(parts, 1), mask, alone, strict=True
        ):
            torch.testing.assert_close(row[real], right)


def test_gradients_flow_through_what_was_read_before():
    model = llama(num_key_value_heads=2)
    ids = some_ids()
    with torch.enable_grad():
        found = []
        for sizes in ([6], [2, 3, 1]):
            past = Concatenated()
            parts = [model(part, past=past) for part in ids.split(sizes, 1)]
            loss = torch.cat(parts, 1).square().sum()
            found.append(torch.autograd.grad(loss, list(model.parameters())))
    for whole, split in zip(*found, strict=True):
        torch.testing.assert_close(whole, split)


class Concatenated:
    """The shortest cache there is: what a model calls, and nothing more."""

    def __init__(self):
        self.kept = {}

    @property
    def length(self):
        return min((k.shape[2] for k, _ in self.kept.values()), default=0)

    def extend(self, layer, key, value):
        if layer in self.kept:
            old = self.kept[layer]
            key, value = (
                torch.cat([old[0], key], 2),
                torch.cat([old[1], value], 2),
            )
        self.kept[layer] = key, value
        return key, value


def test_bytes_are_the_formula_s_and_taken_once():
    model, past = llama(num_key_value_heads=2), KVCache(17)
    for part in some_ids(3, 10).split([4, 6], 1):
        model(part, past=past)
        # 2 · 3 layers · 3 texts · 2 heads · 17 tokens · 6 wide · 8 bytes
        assert past.bytes == cache_bytes(3, 3, 2, 17, 6, width=8) == 29_376
    assert past.length == 10


def test_what_comes_back_are_views_nothing_is_copied():
    past = KVCache(5)
    for new in (2, 1):
        key, value = past.extend(0, *torch.randn(2, 1, 3, new, 4))
        assert key.data_ptr() == past.store[0].data_ptr()
        assert value.untyped_storage() is not None
        assert key._base is past.store[0] and value._base is past.store[0]


def test_hidden_size_of_the_model_does_not_matter_but_its_kv_heads_do():
    weights = []
    for kv_heads in (4, 2, 1):
        past = KVCache(8)
        llama(num_key_value_heads=kv_heads)(some_ids(), past=past)
        weights.append(past.bytes)
    assert weights == [4 * weights[2], 2 * weights[2], weights[2]]


def test_a_full_cache_refuses_by_name_and_a_growing_one_doubles():
    model, ids = gpt(), some_ids(1, 5)
    with pytest.raises(ValueError) as error:
        model(ids, past=KVCache(4))
    assert str(error.value) == (
        "past: got 5 tokens, expected at most capacity = 4"
    )
    past, sizes = GrowingCache(1), []
    for token in ids.split(1, 1):
        model(token, past=past)
        sizes.append(past.capacity)
    assert sizes == [1, 2, 4, 4, 8]


def test_what_is_cut_off_was_never_read():
    model, ids, other = llama(), some_ids(), some_ids(seed=2)
    past = KVCache(9)
    model(ids, past=past)
    past.cut(2)
    assert past.length == 2
    right = model(torch.cat([ids[:, :2], other], 1))[:, 2:]
    torch.testing.assert_close(model(other, past=past), right)
    past.cut(0)
    torch.testing.assert_close(model(other, past=past), model(other))


def test_a_forward_that_failed_midway_can_be_cut_off():
    model, ids = llama(), some_ids(1, 4)
    past = KVCache(9)
    model(ids[:, :2], past=past)
    past.extend(0, *torch.randn(2, 1, 4, 1, 6).double())  # and then ctrl-C
    assert past.length == 2
    past.cut(2)
    torch.testing.assert_close(model(ids[:, 2:], past=past), model(ids)[:, 2:])


BAD_KEYS = {
    "key: got (batch, kv_heads, head_dim) (2, 3, 4) of torch.float32, "
    "expected (1, 3, 4) of torch.float32, as before": (2, 3, 1, 4),
    "key: got (batch, kv_heads, head_dim) (1, 3, 5) of torch.float32, "
    "expected (1, 3, 4) of torch.float32, as before": (1, 3, 1, 5),
}


@pytest.mark.parametrize(("message", "shape"), BAD_KEYS.items())
def test_another_batch_or_other_heads_are_named(message, shape):
    past = KVCache(5)
    past.extend(0, *torch.randn(2, 1, 3, 2, 4))
    with pytest.raises(ValueError) as error:
        past.extend(0, *torch.randn(2, *shape))
    assert str(error.value) == message
    with pytest.raises(ValueError, match="torch.float64, expected"):
        past.extend(0, *torch.randn(2, 1, 3, 1, 4).double())


def test_impossible_capacities_and_cuts_are_named():
    with pytest.raises(
        ValueError, match="^capacity: got 0, expected at least"
    ):
        KVCache(0)
    with pytest.raises(ValueError, match="^length: got 1, expected at most"):
        KVCache(3).cut(1)


def test_a_past_and_new_ids_that_exceed_the_model_are_named():
    for model, message in (
        (gpt(), "ids: got length 2 behind 39 tokens, expected at most "
                "n_positions = 40 in all"),
        (llama(), "ids: got 41 tokens with the past, expected at most "
                  "max_position_embeddings = 40"),
    ):  # fmt: skip
        past = KVCache(60)
        model(some_ids(1, 39), past=past)
        with pytest.raises(ValueError) as error:
            model(some_ids(1, 2), past=past)
        assert str(error.value) == message
        with pytest.raises(ValueError, match="^mask: got length 1, expected"):
            model(some_ids(1, 1), torch.ones(1, 1).bool(), past=past)


def test_a_token_s_key_does_not_depend_on_what_comes_later():
    model = llama()
    ids = some_ids(1, 6)
    past, other = KVCache(6), KVCache(6)
    model(ids, past=past)
    ids[0, 4:] = (ids[0, 4:] + 1) % VOCAB
    model(ids, past=other)
    for layer in range(3):
        same = past.store[layer] == other.store[layer]
        torch.testing.assert_close(
            past.store[layer][..., :4, :], other.store[layer][..., :4, :]
        )
        assert not same[..., 4:, :].all()
