"""The four lists: complete, in an order that can be, equal to PyTorch's."""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch.distributed import pipelining
from torch.testing._internal.distributed.fake_pg import FakeStore

from llmnotes.parallel.pipeline import (
    Event,
    gpipe,
    interleaved,
    live,
    naive,
    one_f_one_b,
    peak,
    program,
    zero_bubble,
)
from tests.parallel.pipeline import tiny


def written(order):
    return " ".join(map(str, order))


def test_by_hand_two_ranks_and_three_micro_batches():
    assert [written(x) for x in gpipe(2, 3).orders] == [
        "0F0 0F1 0F2 0B0 0B1 0B2",
        "1F0 1F1 1F2 1B0 1B1 1B2",
    ]
    assert [written(x) for x in one_f_one_b(2, 3).orders] == [
        "0F0 0F1 0B0 0F2 0B1 0B2",
        "1F0 1B0 1F1 1B1 1F2 1B2",
    ]
    assert [written(x) for x in zero_bubble(2, 3).orders] == [
        "0F0 0F1 0I0 0W0 0F2 0I1 0W1 0I2 0W2",
        "1F0 1I0 1F1 1I1 1W0 1F2 1I2 1W1 1W2",
    ]
    assert written(interleaved(2, 2, 2).orders[1]) == (
        "1F0 1F1 3F0 3B0 3F1 3B1 1B0 1B1"
    )


@pytest.fixture
def four_of(request):
    """Stands for one rank of p; nothing is sent."""
    p = request.param
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=p)
    yield p
    dist.destroy_process_group()


@pytest.mark.parametrize("four_of", [2, 4, 8], indirect=True)
@pytest.mark.parametrize(
    ("kind", "chunks"),
    [
        ("ScheduleGPipe", 1),
        ("ScheduleInterleaved1F1B", 2),
        ("ScheduleInterleaved1F1B", 3),
        ("ScheduleInterleavedZeroBubble", 1),
    ],
)
def test_orders_are_those_of_pytorch(four_of, kind, chunks):
    device = torch.device("cpu")
    stages = [
        pipelining.PipelineStage(
            torch.nn.Linear(1, 1), i * four_of, chunks * four_of, device
        )
        for i in range(chunks)
    ]
    if kind == "ScheduleGPipe":
        [stages] = stages
    m = 2 * four_of
    made = getattr(pipelining, kind)(stages, m, loss_fn=torch.sub)
    ours = tiny.OURS[kind](four_of, m, chunks)
    for rank, order in made.pipeline_order.items():
        assert list(map(str, ours.orders[rank])) == theirs(order)


def theirs(order):
    """PyTorch's events, without what is no event of ours."""
    return [
        str(action)
        for action in order
        if action is not None and not str(action).endswith("REDUCE_GRAD")
    ]


@pytest.mark.parametrize("four_of", [4], indirect=True)
def test_pytorchs_own_list_of_1f1b_lacks_a_forward(four_of):
    stage = pipelining.PipelineStage(
        torch.nn.Linear(1, 1), 0, 4, torch.device("cpu")
    )
    made = pipelining.Schedule1F1B(stage, 4, loss_fn=torch.sub)
    for rank, order in made.pipeline_order.items():
        ours = list(map(str, one_f_one_b(4, 4).orders[rank]))
        assert (ours == theirs(order)) == (rank < 3)
    assert theirs(order) == "3F1 3B0 3F2 3B1 3F3 3B2 3F4 3B3".split()


@pytest.mark.parametrize("four_of", [4], indirect=True)
def test_what_pytorch_refuses_runs_here(four_of):
    device, linear = torch.device("cpu"), torch.nn.Linear(1, 1)
    stage = pipelining.PipelineStage(linear, 0, 4, device)
    message = r"\(1\) must be greater than or equal to .* stages \(4\)"
    with pytest.raises(ValueError, match=message):
        pipelining.Schedule1F1B(stage, 1, loss_fn=torch.sub)
    stages = [pipelining.PipelineStage(linear, i, 8, device) for i in (0, 4)]
    message = r"multiple of the number of rounds \(2\), but got 9"
    with pytest.raises(ValueError, match=message):
        pipelining.ScheduleInterleaved1F1B(stages, 9, loss_fn=torch.sub)
    for schedule in (one_f_one_b(4, 1), interleaved(4, 9, 2)):
        program(schedule)


@pytest.mark.parametrize("four_of", [4], indirect=True)
def test_pytorchs_interleaved_with_one_stage_holds_more(four_of):
    stage = pipelining.PipelineStage(
        torch.nn.Linear(1, 1), 0, 4, torch.device("cpu")
    )
    made = pipelining.ScheduleInterleaved1F1B([stage], 4, loss_fn=torch.sub)
    peaks = []
    for rank, order in sorted(made.pipeline_order.items()):
        kinds = [x.lstrip("0123456789")[0] for x in theirs(order)]
        peaks.append(peak(tuple(Event(kind, rank, 0) for kind in kinds)))
    assert peaks == [4, 4, 3, 1]


@pytest.mark.parametrize("p", range(1, 6))
@pytest.mark.parametrize("m", [1, 2, 5, 8])
def test_peaks_are_those_of_the_formula(p, m):
    named = {
        "gpipe": gpipe(p, m),
        "1f1b": one_f_one_b(p, m),
        "zb-h1": zero_bubble(p, m),
    }
    for name, schedule in named.items():
        for rank, order in enumerate(schedule.orders):
            assert peak(order, "BW") == live(p, m, rank, name)
    for v in (1, 2, 3):
        for rank, order in enumerate(interleaved(p, m, v).orders):
            assert peak(order) == v * live(p, m, rank, "interleaved", v)


def test_zb_h1_sends_no_gradient_later_than_1f1b_and_holds_p_everywhere():
    for p in range(1, 7):
        orders = zero_bubble(p, 9).orders
        assert [peak(o, "IB") for o in orders] == [
            peak(o) for o in one_f_one_b(p, 9).orders
        ]
        assert {peak(o, "BW") for o in orders} == {p}


def swapped(schedule, rank, i, j):
    orders = [list(order) for order in schedule.orders]
    orders[rank][i], orders[rank][j] = orders[rank][j], orders[rank][i]
    return replace(schedule, orders=tuple(map(tuple, orders)))


def test_a_backward_before_its_forward_is_named():
    wrong = swapped(one_f_one_b(2, 3), 1, 0, 1)  # 1B0 first
    message = "program: rank 1 waits at 'run 1B0' for itself"
    with pytest.raises(ValueError, match=message):
        program(wrong)


def test_a_circle_over_ranks_is_named_with_what_each_waits_for():
    wrong = swapped(one_f_one_b(2, 3), 0, 1, 2)  # 0B0 before 0F1
    wrong = swapped(wrong, 1, 1, 2)  # 1F1 before 1B0
    message = (
        "program: rank 0 waits at 'run 0B0' for rank 1; "
        "rank 1 waits at 'run 1F1' for rank 0"
    )
    with pytest.raises(ValueError, match=message):
        program(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:-1], "got 1B2 0 times on rank 1, expected 1"),
        (lambda x: (*x, x[0]), "got 1F0 2 times on rank 1, expected 1"),
        (
            lambda x: (*x, Event("F", 0, 0)),
            "got 0F0 1 times on rank 1, expected 0",
        ),
        (
            lambda x: (*x, Event("F", 1, 3)),
            "got 1F3 1 times on rank 1, expected 0",
        ),
    ],
)
def test_what_is_missing_or_too_much_is_named(change, message):
    schedule = one_f_one_b(2, 3)
    orders = schedule.orders[0], change(schedule.orders[1])
    with pytest.raises(ValueError, match=message):
        program(replace(schedule, orders=orders))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gpipe(0, 3), "ranks: got 0, expected at least 1"),
        (lambda: one_f_one_b(2, 0), "micro_batches: got 0, expected at"),
        (lambda: interleaved(2, 3, 0), "chunks: got 0, expected at least 1"),
        (lambda: zero_bubble(-1, 3), "ranks: got -1, expected at least 1"),
    ],
)
def test_numbers_below_one_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_rank_posts_the_messages_of_a_link_in_one_order():
    for p in (2, 3, 4):
        for made in map(program, tiny.schedules(p, 3)):
            for pair in [(r, (r + 1) % p) for r in range(p)]:
                assert one_order(made, *pair)
    assert not one_order(naive(one_f_one_b(2, 3)), 0, 1)


def one_order(made, a, b):
    """Whether two ranks meet their messages in the same order."""
    lists = []
    for here, there in ((a, b), (b, a)):
        lists.append([])
        for step in made.steps[here]:
            home = made.schedule.rank(step.event.stage)
            ends = {home, made.schedule.heir(step.event)}
            if step.act != "run" and ends == {here, there}:
                lists[-1].append(step.event)
    return lists[0] == lists[1]
