"""What the chapter claims of the cache that forgets, proved."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmnotes.models.kv_cache import (
    GrowingCache,
    KVCache,
    Lean,
    cache_bytes,
    generate,
)
from llmnotes.models.kv_cache.generation import reading
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.models.mistral import MISTRAL_7B_V0_1, RollingCache
from llmnotes.transformer.gpt import left_padded
from tests.models.kv_cache.tiny import splits
from tests.models.mistral.tiny import SHAPE, WINDOW, some_ids, tiny

PROMPTS = [3, 1, 4, 1, 5], [6], [5, 3, 8]


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def read(model, ids, sizes, past, mask=None):
    """Logits of a text that is read in parts."""
    parts = []
    for part in ids.split(list(sizes), 1):
        total = past.length + part.shape[1]
        known = None if mask is None else mask[:, :total]
        parts.append(model(part, known, past=past))
    return torch.cat(parts, 1)


MODELS = {window: tiny(window, num_hidden_layers=2) for window in (1, 2, 3, 4)}


@pytest.mark.parametrize("window", [1, 2, 3, 4])
def test_after_any_split_the_logits_are_those_of_the_whole_text(window):
    model, ids = MODELS[window], some_ids(6, batch=2)
    whole = model(ids)
    for sizes in splits(6):
        got = read(model, ids, sizes, RollingCache(window))
        torch.testing.assert_close(got, whole)


@given(
    window=st.sampled_from(list(MODELS)),
    sizes=st.lists(st.integers(1, 13), min_size=1, max_size=6),
    more=st.integers(0, 3),
)
@settings(max_examples=25, deadline=None)
def test_any_chunks_and_any_room_give_the_whole_s_logits(window, sizes, more):
    model = MODELS[window]
    sizes = sizes[: 1 + next(i for i in range(len(sizes))
                             if sum(sizes[: i + 1]) <= 40)]  # fmt: skip
    ids = some_ids(sum(sizes), batch=1, seed=sum(sizes))
    with torch.no_grad():
        got = read(model, ids, sizes, RollingCache(window + more))
        torch.testing.assert_close(got, model(ids))


@pytest.mark.parametrize("window", [1, 3])
def test_a_padded_row_has_the_logits_it_has_alone_after_any_split(window):
    model, (ids, mask) = MODELS[window], left_padded(PROMPTS, pad=7)
    alone = [model(torch.tensor([prompt]))[0] for prompt in PROMPTS]
    for sizes in splits(5):
        rows = read(model, ids, sizes, RollingCache(window), mask)
        for row, real, right in zip(rows, mask, alone, strict=True):
            torch.testing.assert_close(row[real], right)


@pytest.mark.parametrize("chunk", [None, 1, 3, 5])
def test_prompts_read_in_chunks_are_continued_alike(chunk):
    model, ids = MODELS[4], some_ids(9)
    right = generate(model, ids, 8, past=GrowingCache(), temperature=0)
    assert torch.equal(generate(model, ids, 8, temperature=0), right)
    past = RollingCache(4)
    got = generate(model, ids, 8, past=past, chunk=chunk, temperature=0)
    assert torch.equal(got, right)


def test_a_second_turn_goes_on_with_the_same_cache():
    model, past = MODELS[3], RollingCache(3)
    first = generate(model, some_ids(5), 6, past=past, temperature=0)
    longer = torch.cat([first, some_ids(4, seed=5)], 1)
    again = generate(model, longer, 5, past=past, temperature=0)
    assert torch.equal(again, generate(model, longer, 5, temperature=0))


def test_bytes_stop_growing_at_the_window():
    model, past = MODELS[4], RollingCache(4)
    for token in some_ids(12, batch=5).split(1, 1):
        model(token, past=past)
        # 2 · 2 layers · 5 texts · 2 heads · 4 tokens · 4 wide · 8 bytes
        assert past.bytes == cache_bytes(2, 5, 2, 4, 4, width=8) == 5_120


def test_mistral_7b_keeps_an_eighth_of_32768_tokens():
    config, found = MISTRAL_7B_V0_1, []
    shape = 1, config.num_key_value_heads, 1, config.head_dim
    key = torch.zeros(shape, dtype=torch.bfloat16, device="meta")
    for past in KVCache(32768), RollingCache(config.sliding_window):
        for layer in range(config.num_hidden_layers):
            past.extend(layer, key, key)
        found.append(past.bytes)
    assert found == [2**32, 2**29]  # 4 GiB and 512 MiB


def test_a_step_writes_one_slot_and_copies_nothing():
    past = RollingCache(3)
    past.asked = 9
    past.extend(0, *torch.randn(2, 1, 2, 5, 4))
    before = past.store[0].clone()
    key, value = past.extend(0, *torch.randn(2, 1, 2, 1, 4))
    assert key.data_ptr() == past.store[0].data_ptr()
    assert value._base is past.store[0] and key.shape[2] == 3
    moved = (past.store[0] != before).any(-1).all(0).all(0).all(0)
    assert moved.tolist() == [False, False, True]  # token 5 lies in 5 % 3


def test_where_tokens_lie_worked_by_hand():
    past = RollingCache(4)
    past.filled[0] = 6  # 4 and 5 wrote over 0 and 1
    assert past.places(1).tolist() == [4, 5, 6, 3]
    assert past.places(2).tolist() == [3, 4, 5, 6, 7]
    past.filled[0] = 1
    assert past.places(1).tolist() == [0, 1]
    assert past.places(3).tolist() == [0, 1, 2, 3]


def test_the_order_of_the_keys_does_not_matter_but_the_mask_s_does():
    model, (ids, mask) = MODELS[3], left_padded(PROMPTS, pad=7)
    right = model(ids, mask)[:, -1]

    class InOrder(RollingCache):
        def places(self, new):
            return super().places(new).sort().values

    for kind, same in ((RollingCache, True), (InOrder, False)):
        got = read(model, ids, [3, 1, 1], kind(3), mask)[:, -1]
        assert torch.allclose(got, right) == same


def test_what_was_overwritten_cannot_come_back():
    model, past = MODELS[4], RollingCache(4)
    model(some_ids(4), past=past)
    past.cut(2)  # nothing is lost yet
    new = some_ids(3, seed=2)
    right = model(torch.cat([some_ids(4)[:, :2], new], 1))[:, 2:]
    torch.testing.assert_close(model(new, past=past), right)
    past.cut(5)
    with pytest.raises(ValueError) as error:
        past.cut(3)
    assert str(error.value) == (
        "length: got 3, expected 5: what stood before the last 4 tokens was "
        "overwritten"
    )


def test_a_model_without_a_window_is_refused_once_something_would_be_lost():
    model = Llama(LlamaConfig(**SHAPE)).eval()
    past = RollingCache(4)
    model(some_ids(4), past=past)
    with pytest.raises(ValueError) as error:
        model(some_ids(1), past=past)
    assert str(error.value) == (
        "past: got a model without a window, expected one that sees at most "
        "4 tokens, such as Mistral"
    )


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (5, "expected at least 5, because sliding_window is 5"),
        (None, "expected no RollingCache, because sliding_window is None"),
    ],
)
def test_a_cache_that_forgets_too_much_is_refused(window, words):
    with pytest.raises(ValueError) as error:
        tiny(window)(some_ids(2), past=RollingCache(4))
    assert str(error.value) == f"past: got a window of 4, {words}"


@pytest.mark.parametrize("window", [0, -3, True])
def test_an_impossible_window_is_refused(window):
    with pytest.raises(ValueError, match=f"window: got {window}, expected"):
        RollingCache(window)


def test_decoders_that_know_no_window_refuse_a_model_that_has_one():
    with pytest.raises(ValueError, match="^model: got Mistral, expected Ll"):
        Lean(tiny(WINDOW))


def test_a_model_chooses_the_smaller_cache():
    model = MODELS[4]
    assert type(model.cache_for(4)) is KVCache
    assert type(model.cache_for(5)) is RollingCache
    assert model.cache_for(5).window == 4
    assert type(tiny(None).cache_for(5)) is KVCache
    read = reading(model, True, None, None, some_ids(3), 9)
    assert type(read.past) is RollingCache
