"""Experts on two ranks: the same answers, and the bytes of the formula."""

import pytest
import torch
import torch.distributed as dist

from llmnotes.models.moe import Routing, choose
from llmnotes.models.moe.ranks import RankedExperts, bytes_sent
from tests.models.moe.ranked import RANKS, ROW, made, rows_of, work


@pytest.fixture(scope="module")
def found(processes, tmp_path_factory):
    """What each rank said."""
    store = str(tmp_path_factory.mktemp("store") / "file")
    pipes = [processes.Pipe(duplex=False) for _ in range(RANKS)]
    started = [
        processes.Process(target=work, args=(rank, store, pipe), daemon=True)
        for rank, (_, pipe) in enumerate(pipes)
    ]
    for process in started:
        process.start()
    said = []
    for ours, _ in pipes:
        assert ours.poll(60), "a rank does not answer"
        said.append(ours.recv())
    for process in started:
        process.join(60)
    return said


@pytest.fixture(scope="module")
def right():
    """The same on one rank, which has all experts and all tokens."""
    whole = made()
    inputs = [rows_of(rank).requires_grad_() for rank in range(RANKS)]
    outs = [whole(x) for x in inputs]
    sum(out.square().sum() for out in outs).backward()
    grads = [p.grad.chunk(RANKS) for p in whole.experts.parameters()]
    return [
        (outs[r], inputs[r].grad, *(g[r] for g in grads)) for r in range(RANKS)
    ]


@pytest.mark.parametrize("rank", range(RANKS))
def test_two_ranks_give_outputs_and_gradients_of_one(found, right, rank):
    *tensors, _ = found[rank]
    for ours, expected in zip(tensors, right[rank], strict=True):
        ours = torch.tensor(ours, dtype=torch.float64)
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("rank", range(RANKS))
def test_the_bytes_that_leave_a_rank_are_those_of_the_formula(found, rank):
    routings = [made().gate(rows_of(r)) for r in range(RANKS)]
    out = [bytes_sent(routings[r], RANKS, r, ROW) for r in range(RANKS)]
    there, back = out[rank], out[1 - rank]
    assert found[rank][-1] == [there, back] * 2  # forward, and the way back
    assert there > 0 and back > 0 and there != back


def test_by_hand_even_routing_sends_k_t_times_the_others_share():
    experts = torch.arange(48).view(-1, 2) % 6
    routing = Routing(experts, experts / 1.0, torch.zeros(24, 6))
    for ranks in (1, 2, 3, 6):
        rows = 24 * 2 * (ranks - 1) // ranks
        for rank in range(ranks):
            assert bytes_sent(routing, ranks, rank, 10) == 10 * rows


def test_what_goes_to_nobody_is_not_sent():
    routing = choose(torch.zeros(4, 6), 1)
    nobody = routing._replace(experts=torch.full((4, 1), 6))
    assert bytes_sent(nobody, 2, 0, 10) == bytes_sent(nobody, 2, 1, 10) == 0


def test_ranks_that_do_not_divide_the_experts_are_refused(monkeypatch):
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    with pytest.raises(ValueError, match="ranks: got 4, expected a divisor"):
        RankedExperts(made().experts)
