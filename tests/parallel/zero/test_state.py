"""A state that was written on two ranks goes on, on any number of ranks."""

import pytest
import torch

from llmnotes import optimizer_state
from llmnotes.parallel.data_parallel import run
from llmnotes.train import adamw
from tests.parallel.zero import ranks, toy
from tests.parallel.zero.test_zero import assert_close, trained


@pytest.fixture(scope="module")
def written(processes):
    """Weights and state after two steps, of each rank of two."""
    return run(ranks.saved, 2, 2, processes=processes)


def same_bits(one, other):
    for name, moments in one.items():
        assert moments.keys() == other[name].keys()
        for moment, x in moments.items():
            assert torch.equal(x, other[name][moment]), (name, moment)
    assert one.keys() == other.keys()


def test_every_rank_gathers_the_same(written):
    same_bits(written[0][1], written[1][1])
    assert all(
        torch.equal(x, written[1][0][n]) for n, x in written[0][0].items()
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_two_ranks_go_on_as_another_number_of_ranks(count, written, processes):
    model, *_ = toy.alone()
    stage = 1 + count % 3
    for loaded, weights in run(
        ranks.resumed, count, stage, *written[0], processes=processes
    ):
        same_bits(loaded[1], written[0][1])
        for name, x in written[0][0].items():
            assert torch.equal(loaded[0][name], x)
        assert_close(weights, trained(model))


def test_four_ranks_and_back_lose_no_bit(written, processes):
    there = run(ranks.resumed, 4, 3, *written[0], processes=processes)
    back = run(ranks.resumed, 2, 2, *there[0][0], processes=processes)
    straight = run(ranks.saved, 2, 2, 4, processes=processes)
    for name, x in straight[0][0].items():
        assert torch.equal(back[0][1][name], x), name


def test_the_state_is_that_of_an_optimizer_that_is_not_sharded(written):
    weights, state = written[0]
    model = toy.toy()
    model.load_state_dict(weights, strict=False)
    optimizer = adamw(model, toy.CONFIG)
    optimizer_state.put(model, optimizer, state)
    own = [p for p in model.parameters() if p.requires_grad]
    for step in range(2, 4):
        optimizer.zero_grad()
        for loss in toy.losses(model, toy.batch(step)):
            loss.backward()
        torch.nn.utils.clip_grad_norm_(own, ranks.CLIP)
        optimizer.step()
    assert_close(trained(model), trained(toy.alone()[0]))
