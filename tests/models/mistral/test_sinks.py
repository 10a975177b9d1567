"""What the chapter claims of attention sinks, proved."""

import pytest
import torch
import torch.nn.functional as F

from llmnotes.models.kv_cache import KVCache, generate
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.models.mistral import SinkCache, Streaming
from llmnotes.transformer.attention import attention
from llmnotes.transformer.rope import angles_at, rotate
from tests.models.llama.tiny import scatter
from tests.models.mistral.tiny import SHAPE, some_ids


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def streaming(**options):
    shape = SHAPE | dict(num_hidden_layers=2) | options
    return scatter(Streaming(LlamaConfig(**shape)).double())


def stepwise(model, ids, past):
    return torch.cat([model(t, past=past) for t in ids.split(1, 1)], 1)


def kept(t, sinks, recent):
    """Tokens that token t sees, by the paper's definition."""
    first = max(sinks, t + 1 - recent)
    return [*range(min(sinks, t + 1)), *range(first, t + 1)]


def by_hand(model, ids, sinks, recent):
    """Logits with one loop over queries in each layer, and no cache."""
    x = model.model.embed_tokens(ids)
    theta = model.config.frequencies()
    for block in model.model.layers:
        part = block.self_attn
        query, key, value = part.split(block.input_layernorm(x))
        rows = []
        for t in range(ids.shape[1]):
            seen = kept(t, sinks, recent)
            turn = angles_at(torch.arange(len(seen)), theta, torch.float64)
            q = rotate(query[:, :, t : t + 1], turn[-1:])
            k = rotate(key[:, :, seen], turn)
            rows.append(attention(q, k, value[:, :, seen]))
        out = torch.cat(rows, 2).transpose(1, 2).flatten(2)
        x = x + part.o_proj(out)
        x = x + block.mlp(block.post_attention_layernorm(x))
    return F.linear(model.model.norm(x), model.head())


@pytest.mark.parametrize("sinks", [0, 1, 3])
@pytest.mark.parametrize("recent", [1, 4])
def test_each_token_sees_the_first_and_the_last_at_places_within(
    sinks, recent
):
    model, ids = streaming(), some_ids(11, batch=2)
    got = stepwise(model, ids, SinkCache(sinks, recent))
    torch.testing.assert_close(got, by_hand(model, ids, sinks, recent))


def test_until_the_cache_is_full_it_is_a_llama():
    model, ids = streaming(), some_ids(9)
    plain = Llama(model.config).double()
    plain.load_state_dict(model.state_dict())
    right = plain(ids)
    torch.testing.assert_close(model(ids), right)
    past = SinkCache(2, 7)
    parts = [model(part, past=past) for part in ids.split([4, 3, 2], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), right)


def test_a_text_without_end_takes_no_more_room():
    model = streaming(max_position_embeddings=8)
    past = SinkCache(2, 6)
    text = generate(model, some_ids(3), 20, past=past, chunk=1, temperature=0)
    assert text.shape[1] == 23 and past.length == 22
    # 2 · 2 layers · 3 texts · 2 heads · 8 tokens · 4 wide · 8 bytes
    assert past.bytes == 6_144


def test_places_worked_by_hand():
    past = SinkCache(2, 3)
    assert past.slots(torch.arange(8)).tolist() == [0, 1, 2, 3, 4, 2, 3, 4]
    # slots hold 0 1 | 5 6 4 once 7 are read: in order 0 1 4 5 6
    assert past.places(7).tolist() == [0, 1, 3, 4, 2]
    assert past.places(3).tolist() == [0, 1, 2]


REFUSED = {
    "past: got 5 tokens at once behind 3, expected one after the other": (
        lambda m, p: m(some_ids(5), past=p)
    ),
    "past: got KVCache, expected a SinkCache": (
        lambda m, p: m(some_ids(2), past=KVCache(9))
    ),
    "past: got room for 41 tokens, expected at most max_position_": (
        lambda m, p: m(some_ids(2), past=SinkCache(1, 40))
    ),
    "past: got none and 41 tokens, expected at most max_position_": (
        lambda m, p: m(some_ids(41))
    ),
    "mask: got one, expected none": (
        lambda m, p: m(some_ids(2), torch.ones(3, 2).bool())
    ),
    "recent: got 0, expected at least 1": lambda m, p: SinkCache(2, 0),
    "sinks: got -1, expected at least 0": lambda m, p: SinkCache(-1, 2),
    "length: got 2, expected 8: tokens before the last": (
        lambda m, p: (stepwise(m, some_ids(5), p), p.cut(2))
    ),
}


@pytest.mark.parametrize(("message", "go"), REFUSED.items())
def test_what_cannot_be_is_refused_by_name(message, go):
    model, past = streaming(), SinkCache(2, 4)
    model(some_ids(3), past=past)
    with pytest.raises(ValueError) as error:
        go(model, past)
    assert str(error.value).startswith(message)
