"""What the chapter claims of blocks and of continuous batching, proved."""

import pytest
import torch

from llmnotes.models.kv_cache import (
    KVCache,
    Pool,
    Request,
    Row,
    Server,
    generate,
    serve,
)
from tests.models.kv_cache.tiny import VOCAB, gpt, llama, some_ids

MODELS = {"GQA": llama(num_key_value_heads=2), "GPT-2": gpt()}


def requests(count=7, seed=3):
    """Prompts of 1 to 8 tokens, answers of 1 to 12."""
    draw = torch.Generator().manual_seed(seed)

    def some(most):
        return int(torch.randint(1, most + 1, (), generator=draw))

    return [
        Request(torch.randint(VOCAB, (some(8),), generator=draw), some(12))
        for _ in range(count)
    ]


def alone(model, request):
    """What a request is answered by itself, with a contiguous cache."""
    ids = request.prompt[None]
    return generate(
        model, ids, request.new_tokens, temperature=0, stop=request.stop
    )[0, len(request.prompt) :].tolist()


@pytest.mark.parametrize("size", [1, 3, 16])
def test_blocks_hand_back_what_a_contiguous_cache_does(size):
    pool, past = Pool(40, size), KVCache(11)
    other = Row(pool)
    rows = Row(pool)
    for new in (4, 1, 6):
        other.extend(0, *torch.randn(2, 1, 2, 2, 3))  # takes blocks between
        given = torch.randn(2, 1, 2, new, 3)
        for got, right in zip(
            rows.extend(0, *given), past.extend(0, *given), strict=True
        ):
            assert torch.equal(got, right)
    assert len(rows.table) == -(-11 // size)
    assert not set(rows.table) & set(other.table)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("most", "blocks"), [(1, 20), (3, 20), (8, 60)])
def test_everybody_is_answered_as_if_alone(name, most, blocks):
    model, asked = MODELS[name], requests()
    serve(model, asked, Pool(blocks, size=3), most)
    assert [r.written for r in asked] == [alone(model, r) for r in asked]


def test_who_must_wait_for_blocks_is_answered_the_same():
    model, asked = MODELS["GQA"], requests()
    pool = Pool(7, size=3)  # 21 tokens: little more than one request
    server = serve(model, asked, pool, most=5)
    assert [r.written for r in asked] == [alone(model, r) for r in asked]
    assert max(server.rows_of_step) > 1
    # More was said than written: somebody was sent away and read again.
    assert sorted(pool.free) == list(range(7))


def test_a_stop_ends_a_request_and_its_place_goes_to_the_next():
    model, asked = MODELS["GQA"], requests()
    for request in asked:
        request.stop = alone(model, request)[0]
    server = serve(model, asked, Pool(60, 3), most=2)
    assert all(len(r.written) == 1 for r in asked)
    assert server.rows_of_step == [2, 2, 2, 1]


def test_at_most_a_block_less_one_is_empty_for_each_text():
    model, pool = MODELS["GPT-2"], Pool(60, size=4)
    server = Server(model, pool, most=4)
    for request in requests():
        server.add(request)
    while server.waiting or server.running:
        server.step()
        taken = pool.blocks - len(pool.free)
        kept = sum(r.row.length for r in server.running)
        assert 4 * taken - kept <= 3 * len(server.running)


def test_a_request_that_fits_nowhere_and_a_full_pool_are_named():
    server = Server(MODELS["GQA"], Pool(2, size=3))
    with pytest.raises(ValueError) as error:
        server.add(Request(some_ids(1, 5)[0], 3))
    assert str(error.value) == (
        "request: got 7 tokens to keep, expected at most the pool's 6"
    )
    for prompt, new, message in (
        (torch.zeros(0).long(), 3, "prompt: got 0"),
        (some_ids(1, 2)[0], 0, "new_tokens: got 0"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            server.add(Request(prompt, new))
    with pytest.raises(ValueError, match="^pool: got no free block, all 2"):
        Row(Pool(2, 3)).extend(0, *torch.randn(2, 1, 2, 7, 3))
    with pytest.raises(ValueError, match="^size: got 0"):
        Pool(2, 0)
