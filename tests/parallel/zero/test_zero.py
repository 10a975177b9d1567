"""All three stages train as one process does, and as FSDP2."""

import pytest
import torch

from llmnotes import train
from llmnotes.parallel.data_parallel import run
from llmnotes.train import adamw
from tests.parallel.zero import ranks, toy


@pytest.fixture(scope="module")
def alone():
    return toy.alone()


@pytest.fixture(scope="module", params=[1, 2, 3, 4], ids="{0} ranks".format)
def found(request, processes):
    """What each rank came to, with 1 to 4 ranks."""
    pieces = (1, 2) if request.param in (2, 3) else (1,)
    return run(ranks.every_way, request.param, pieces, processes=processes)


def assert_close(found, expected, rtol=1e-11):
    for name, x in expected.items():
        torch.testing.assert_close(
            found[name], x, rtol=rtol, atol=rtol,
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


def trained(model):
    """The weights that were moved."""
    return {
        n: p.detach() for n, p in model.named_parameters() if p.requires_grad
    }


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_weights_norms_and_moments_are_those_of_one_process(
    stage, found, alone
):
    model, optimizer, norms = alone
    own = dict(model.named_parameters())
    for rank in found:
        for pieces in {k[1] for k in rank if k[0] == stage}:
            weights, seen, state, in_place = rank[stage, pieces]
            assert_close(weights, trained(model))
            assert seen == pytest.approx(norms, rel=1e-11)
            assert in_place
            for name in trained(model):
                assert_close(state[name], optimizer.state[own[name]])


def test_a_weight_that_a_step_does_not_use_stays(found):
    """Adam would move it by its momentum, and decay it."""
    for rank in found:
        for stage in (1, 2, 3):
            state = rank[stage, 1][2]
            assert state["sometimes"]["step"] == 3
            assert state["norm.weight"]["step"] == 4


def test_fsdp2_comes_to_the_same_weights(found, alone):
    for rank in found:
        assert_close(rank["fsdp2", 1], trained(alone[0]))
        assert_close(rank["fsdp2", 1], rank[3, 1][0])


def test_a_weight_that_one_rank_uses_moves_on_all(processes):
    model = toy.toy()
    optimizer = adamw(model, toy.CONFIG)
    for step in range(2):
        optimizer.zero_grad()
        rows = toy.batch(step).tensor_split(2)
        for rank, part in enumerate(rows):
            for loss in toy.losses(
                model, part, 1, toy.used(step) and rank == 1
            ):
                loss.backward()
        torch.nn.utils.clip_grad_norm_(trained_list(model), ranks.CLIP)
        optimizer.step()
    for rank in run(ranks.by_the_last_only, 2, processes=processes):
        for weights, state in rank:
            assert_close(weights, trained(model))
            assert state["sometimes"]["step"] == 1


def test_a_layer_that_one_rank_skips_is_summed_in_its_turn(processes):
    """Layers are of one size: in another turn they would be mixed up."""
    model = ranks.square(dtype=torch.float64)
    for rank in range(2):
        x = torch.full((1, ranks.SIDE), 1.0 + rank, dtype=torch.float64)
        ranks.around(model, x, rank).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    for weights in run(ranks.skipping, 2, processes=processes):
        assert_close(weights, trained(model))


def test_there_may_be_more_ranks_than_numbers(processes):
    """Adam's first step is its rate; the gradient is 1 on each of 3 ranks."""
    for rank in run(ranks.one_number, 3, processes=processes):
        for weight, moment in rank:
            assert weight == pytest.approx(1 - 0.01 - 1e-4)  # and decay
            assert moment == pytest.approx(0.3)


def test_all_ranks_begin_with_the_weights_of_rank_0(processes):
    found = run(ranks.seeded_by_rank, 2, processes=processes)
    for rank in found:
        for (first, _), (_, weights) in zip(found[0], rank, strict=True):
            for name, x in first.items():
                assert torch.equal(weights[name], x)


def trained_list(model):
    return [p for p in model.parameters() if p.requires_grad]


def test_by_hand_shards_of_a_gradient_have_one_norm(processes):
    """[3, 0] and [0, 4]: 5. Clipped to 1, the row is 1 − 3/5 and 1 − 4/5."""
    for rank in run(ranks.by_hand, 2, processes=processes):
        for norm, row in rank:
            assert norm == 5
            assert row == pytest.approx([0.4, 1, 1, 0.2], abs=1e-6)


def test_a_master_copy_keeps_steps_that_bfloat16_loses(processes):
    """1 − 6e-4 is 1 again in bfloat16, and so it would be after any step."""
    for weights, low in run(ranks.small_steps, 2, processes=processes):
        assert torch.allclose(weights, torch.tensor(1 - 6e-3), atol=1e-6)
        assert torch.equal(low, weights.bfloat16())
        assert low[0] == 0.9921875
    assert torch.tensor(1.0).bfloat16() - 6e-4 == 1


def test_a_gpt_whose_layers_come_and_go_is_that_of_one_process(processes):
    model, ids = toy.gpt(), toy.gpt_ids()
    optimizer = adamw(model, toy.CONFIG)
    logits = model(ids[:, :-1]).detach()
    train.loss(model, ids[:, :-1], ids[:, 1:]).backward()
    optimizer.step()
    for found, weights in run(ranks.gpt, 3, processes=processes):
        assert torch.equal(found, logits)
        assert_close(weights, trained(model))
