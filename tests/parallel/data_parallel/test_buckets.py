"""Gradients of all ranks: those of one process, sent while it computes."""

from fractions import Fraction

import pytest
import torch
from torch import nn

from llmnotes import train
from llmnotes.parallel.data_parallel import RankError, run
from llmnotes.parallel.data_parallel.buckets import in_buckets
from llmnotes.task import IGNORED
from tests.parallel.data_parallel import ranked, traps

BOUNDS = {torch.float64: 1e-12, torch.float32: 2e-5}


def one_process(dtype, steps=3):
    model, task, config = ranked.setting(dtype, steps)
    optimizer = train.adamw(model, config)
    for step in range(steps):
        train.update(model, optimizer, task, task.batch(step), config, step)
    return {n: p.detach() for n, p in model.named_parameters()}


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_any_number_of_ranks_trains_as_one_process(dtype, ranks, processes):
    """Seven rows, of which not all have as many targets."""
    whole = one_process(dtype)
    for ours in run(ranked.trained, ranks, dtype, processes=processes):
        for name, p in whole.items():
            torch.testing.assert_close(
                ours[name], p, rtol=0, atol=BOUNDS[dtype], msg=name
            )


@pytest.mark.parametrize("size", [1, 700, 10**9])
@pytest.mark.parametrize("pieces", [1, 2])
def test_any_buckets_and_pieces_give_the_gradient_of_the_batch(
    size, pieces, processes
):
    model, task, _ = ranked.setting()
    inputs, targets = task.batch(0)
    count = int((targets != IGNORED).sum())
    (ranked.summed_loss(model, inputs, targets) / count).backward()
    for grads, *_ in run(
        ranked.gradients, 3, size, pieces, processes=processes
    ):
        for name, p in model.named_parameters():
            torch.testing.assert_close(grads[name], p.grad, msg=name)


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_batch_sends_every_gradient_once_however_many_pieces(
    ranks, processes
):
    model = ranked.setting()[0]
    size = sum(p.numel() for p in model.parameters())
    job = 700, 2
    for _, calls, _, buckets in run(
        ranked.gradients, ranks, *job, processes=processes
    ):
        assert {c.kind for c in calls} == {"all-reduce"}
        assert len(calls) == buckets > 3
        sent = sum(c.sent for c in calls)
        assert sent == Fraction(2 * size * (ranks - 1), ranks)


def test_all_but_the_last_bucket_leave_before_the_first_layer_is_reached(
    processes,
):
    for _, _, early, buckets in run(
        ranked.gradients, 2, 300, processes=processes
    ):
        assert early == [buckets - 1] or early == [buckets - 2]


def test_weights_are_those_of_pytorchs_ddp(processes):
    for ours, theirs in run(ranked.beside_ddp, 3, processes=processes):
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], msg=name)


def test_a_tied_weight_travels_once_and_one_that_is_unused_counts_as_zero(
    processes,
):
    whole, x = ranked.Half(), torch.ones(3).double()
    (whole(x, third=False) + whole(x, third=True)).backward()
    for grads in run(ranked.tied_and_unused, 2, processes=processes):
        assert set(grads) == {"a.weight", "c.weight", "c.bias"}
        for name, p in whole.named_parameters():
            torch.testing.assert_close(grads[name], p.grad, msg=name)


def test_a_second_backward_without_quiet_is_refused(processes):
    for twice in (ranked.backward_twice, ranked.quiet_too_late):
        with pytest.raises(RankError, match="got one more before finish"):
            run(twice, 2, processes=processes)


def test_all_ranks_begin_with_the_weights_of_rank_0(processes):
    first, *others = run(ranked.begun, 3, processes=processes)
    for other in others:
        for one, two in zip(first, other, strict=True):
            assert torch.equal(one, two)


def test_models_that_differ_are_refused_by_name_on_every_rank(processes):
    with pytest.raises(RankError) as error:
        run(ranked.other_models, 3, processes=processes)
    said = str(error.value).splitlines()[:3]
    for line in said:
        assert "got weight as (4, 2) float32 on rank 1 and as (3, 2)" in line


def test_a_fact_that_only_one_rank_knows_is_named(processes):
    with pytest.raises(RankError, match="b as 2 on rank 2 and as nothing"):
        run(ranked.other_words, 3, processes=processes)


def test_buckets_hold_neighbours_of_one_dtype():
    sizes = [3, 3, 3, 9, 1]
    some = [nn.Parameter(torch.ones(n)) for n in sizes]
    some[4].data = some[4].data.double()
    found = in_buckets(some, 5)
    assert [[len(p) for p in b] for b in found] == [[3, 3], [3, 9], [1]]


# What goes wrong in practice, with PyTorch's own messages -----------------


def test_no_sync_around_backward_alone_changes_nothing(processes):
    """DDP decides in forward whether backward will send."""
    assert run(traps.quiet_where, 2, "both", processes=processes) == [0, 0]
    assert run(traps.quiet_where, 2, "back", processes=processes) == [1, 1]


def test_ddp_complains_a_step_late_of_an_unused_parameter(processes):
    for said in run(traps.unused, 2, processes=processes):
        assert said.startswith(
            "Expected to have finished reduction in the prior iteration "
            "before starting a new one. This error indicates that your "
            "module has parameters that were not used in producing loss."
        )


def test_quiet_at_the_wrong_end_leaves_ranks_with_gradients_of_their_own(
    processes,
):
    """Pieces of 1 and 3 on rank 0, of 2 and 5 on rank 1; the mean is 5.5."""
    job = traps.quiet_at_the_wrong_end, 2
    assert run(*job, False, processes=processes) == [5.5, 5.5]
    assert run(*job, True, processes=processes) == [4.5, 6.5]
