"""Ranks that run a schedule find what one process finds, in its order."""

import functools

import numpy as np
import pytest

from llmnotes.parallel.data_parallel import RankError, run
from llmnotes.parallel.pipeline import (
    Rendezvous,
    gpipe,
    interleaved,
    live,
    naive,
    one_f_one_b,
    peak,
    program,
    simulate,
    traffic,
)
from tests.parallel.pipeline import ranks, tiny

CLOSE = 2e-16  # float64: sums in another order
NUMBERS = 1, 3, 9  # fewer than ranks, no multiple of them


@functools.cache
def alone(micro_batches, layers=4):
    """One process."""
    model = tiny.gpt(layers)
    loss = tiny.backward(model, [tiny.batches(micro_batches)])
    return loss, ranks.gradients(model)


def all_of(p):
    return [s for m in NUMBERS for s in tiny.schedules(p, m)]


@pytest.fixture(scope="module", params=[1, 2, 3, 4])
def found(request, processes):
    """What p ranks found, for each schedule: a list over ranks."""
    schedules = all_of(request.param)
    of_ranks = run(ranks.steps, request.param, schedules, processes=processes)
    return list(zip(schedules, zip(*of_ranks, strict=True), strict=True))


def test_loss_and_every_gradient_equal_one_process(found):
    for schedule, got in found:
        layers = max(4, schedule.last + 1)
        loss, gradients = alone(schedule.micro_batches, layers)
        assert sum(g[0] for g in got) == pytest.approx(loss, abs=1e-15)
        names = set()
        for _, mine, _, _ in got:
            names |= set(mine)
            for name, value in mine.items():
                np.testing.assert_allclose(
                    value, gradients[name], rtol=0, atol=CLOSE
                )
        assert names == set(gradients)


def test_both_copies_of_a_tied_weight_have_the_whole_gradient(found):
    for _, got in found:
        name = "transformer.wte.weight"
        first, last = got[0][1][name], got[-1][1][name]
        assert (first == last).all()


def test_ranks_did_what_the_lists_say_in_that_order(found):
    for schedule, got in found:
        assert [tuple(trace) for _, _, trace, _ in got] == list(
            schedule.orders
        )


def test_the_most_micro_batches_held_are_those_of_the_formula(found):
    names = ["gpipe", "1f1b", "interleaved", "zb-h1"] * len(NUMBERS)
    for name, (schedule, got) in zip(names, found, strict=True):
        p, m, v = schedule.ranks, schedule.micro_batches, schedule.chunks
        for rank, (_, _, _, held) in enumerate(got):
            assert held == v * live(p, m, rank, name, v)
            assert held == peak(schedule.orders[rank], "BW")


def test_by_hand_four_ranks_hold_four_three_two_and_one(on):
    held = [g[3] for g in on(4, ranks.one_step, one_f_one_b(4, 8))]
    assert held == [4, 3, 2, 1]
    held = [g[3] for g in on(4, ranks.one_step, gpipe(4, 8))]
    assert held == [8, 8, 8, 8]


@pytest.mark.parametrize("p", [2, 3])
def test_a_real_run_has_the_simulators_times(on, p):
    schedules = [s for m in (2, 4) for s in tiny.schedules(p, m)]
    real = on(p, ranks.timed, schedules)
    for schedule, got in zip(schedules, zip(*real, strict=True), strict=True):
        expected = simulate(program(schedule)).spans
        for mine, theirs in zip(got, expected, strict=True):
            assert mine == [(s.event, s.start, s.end) for s in theirs]


@pytest.mark.parametrize("kind", [ranks.Summed, ranks.SummedBlocking])
@pytest.mark.parametrize("p", [2, 4])
def test_nothing_hangs_with_messages_of_a_megabyte(on, p, kind):
    schedules = [s for m in (1, 5) for s in tiny.schedules(p, m)]
    got = on(p, ranks.megabytes, schedules, kind)
    for schedule, losses in zip(
        schedules, zip(*got, strict=True), strict=True
    ):
        stages = schedule.last + 1
        expected = schedule.micro_batches * 1.5**stages
        assert sum(losses) == pytest.approx(expected, rel=1e-5)


def test_what_crosses_a_boundary_is_counted(on):
    m, p = 6, 3
    inputs, _ = tiny.batches(m)
    whole = sum(traffic(*x.shape, tiny.WIDTH) for x in inputs)
    got = on(p, ranks.sent, one_f_one_b(p, m))
    assert [count for _, count in got] == [{"send": m}, {"send": 2 * m}] + [
        {"send": m}
    ]
    assert sum(numbers for numbers, _ in got) == (p - 1) * whole
    got = on(p, ranks.sent, interleaved(p, m, 2))
    assert sum(numbers for numbers, _ in got) == (2 * p - 1) * whole


def test_bytes_follow_the_micro_batches_that_are_held(on):
    names = "gpipe", "1f1b", "interleaved", "zb-h1"
    schedules = tiny.schedules(4, 8)
    for rank, found in enumerate(on(4, ranks.held, schedules, 8)):
        for name, schedule, held in zip(names, schedules, found, strict=True):
            most = live(4, 8, rank, name, schedule.chunks)
            assert 29_000 * most < held < 31_000 * most + 12_000


def test_what_cannot_be_is_refused_before_anything_is_sent(on):
    for rank, found in enumerate(on(2, ranks.refusals)):
        assert found == [
            "program: got one for 3 ranks, expected 2",
            f"stages: got [0, 1], expected [{rank}] on rank {rank}",
            "inputs: got 2 micro-batches, expected 3, as in the schedule",
            "targets: got 1 micro-batches, expected 3, as in the schedule",
            "targets: got shape (3, 5) in micro-batch 1, expected (2, 6), as "
            "of its inputs",
        ]


def test_a_rank_that_fails_in_the_middle_is_named(on):
    with pytest.raises(RankError, match="rank 1 .*out of memory"):
        on(3, ranks.broken, one_f_one_b(3, 4))


def test_the_naive_order_hangs_in_real_ranks_too(processes):
    with pytest.raises(RankError, match="one waits for another message"):
        run(ranks.hangs, 2, processes=processes, patience=1)


def test_the_naive_order_hangs_and_is_named():
    with pytest.raises(ValueError, match="'send 0F1' for rank 1; rank 1"):
        simulate(naive(one_f_one_b(2, 3)), messages=Rendezvous)
