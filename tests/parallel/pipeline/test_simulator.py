"""Times: bubbles of the formulas exactly, and no rank that waits for ever."""

from fractions import Fraction

import pytest

from llmnotes.parallel.pipeline import (
    Costs,
    Rendezvous,
    bubble,
    gpipe,
    idle,
    interleaved,
    naive,
    one_f_one_b,
    program,
    simulate,
    zero_bubble,
    zero_bubble_bubble,
)
from tests.parallel.pipeline import tiny

RANKS = 1, 2, 3, 5
NUMBERS = 1, 3, 8


def test_by_hand_two_ranks_and_two_micro_batches():
    made = simulate(program(one_f_one_b(2, 2)))
    assert [
        [(str(s.event), s.start, s.end) for s in x] for x in made.spans
    ] == [
        [("0F0", 0, 1), ("0F1", 1, 2), ("0B0", 4, 6), ("0B1", 7, 9)],
        [("1F0", 1, 2), ("1B0", 2, 4), ("1F1", 4, 5), ("1B1", 5, 7)],
    ]
    assert (made.end, made.ideal, made.bubble) == (9, 6, Fraction(1, 2))


@pytest.mark.parametrize("p", RANKS)
@pytest.mark.parametrize("m", NUMBERS)
@pytest.mark.parametrize("backward", [(1, 1), (1, 0), (Fraction(5, 2), 3)])
def test_the_bubble_is_p_minus_1_over_m_exactly(p, m, backward):
    costs = Costs(2, *backward)
    for schedule in (gpipe(p, m), one_f_one_b(p, m)):
        made = simulate(program(schedule), costs)
        assert made.bubble == bubble(p, m) == Fraction(p - 1, m)
        assert made.idle == idle(p, m) == Fraction(p - 1, m + p - 1)


@pytest.mark.parametrize("p", RANKS)
@pytest.mark.parametrize("v", [1, 2, 3])
def test_v_chunks_divide_the_bubble_by_v_for_every_m_from_p_on(p, v):
    for m in (p, 2 * p + 1):
        made = simulate(program(interleaved(p, m, v)))
        assert made.bubble == bubble(p, m, v) == Fraction(p - 1, v * m)


@pytest.mark.parametrize("p", RANKS)
@pytest.mark.parametrize("costs", [(1, 1, 1), (2, 3, 2), (4, 4, 3)])
def test_zb_h1_waits_for_p_minus_1_times_f_plus_i_minus_w(p, costs):
    forward, back, weight = costs
    for m in (p, p + 3):
        made = simulate(program(zero_bubble(p, m)), Costs(*costs))
        waits = (p - 1) * (forward + back - weight)
        assert made.end - made.ideal == waits
        assert made.bubble == zero_bubble_bubble(p, m, *costs)


def test_at_equal_times_zb_h1_waits_a_third_of_1f1b():
    for p in RANKS:
        assert 3 * zero_bubble_bubble(p, 8) == bubble(p, 8)


def test_published_numbers():
    assert (bubble(4, 8), idle(4, 8)) == (Fraction(3, 8), Fraction(3, 11))
    assert float(bubble(4, 8)) == 0.375
    made = simulate(program(one_f_one_b(8, 32)), Costs(2, 1, 1))
    assert made.end == 2 * 78  # units of F = B, as GPipe's: 2(m + p − 1)
    # GPipe's "negligible when M >= 4K" tends to a fifth.
    assert idle(8, 32) == Fraction(7, 39)
    assert abs(idle(10**6, 4 * 10**6) - Fraction(1, 5)) < 1e-6
    # One micro-batch, as with device_map: one rank at a time.
    alone = simulate(program(gpipe(4, 1)))
    assert (alone.end, alone.ideal) == (12, 3)
    # 47 % and 30 % of all time.
    assert [round(float(idle(8, m)), 4) for m in (8, 16)] == [0.4667, 0.3043]


@pytest.mark.parametrize("p", RANKS[1:])
@pytest.mark.parametrize("m", NUMBERS)
def test_no_program_hangs_though_every_send_waits_for_its_receiver(p, m):
    for schedule in (*tiny.schedules(p, m)[1:], interleaved(p, m, 3)):
        factors = tuple(range(3, 4 + schedule.last))
        simulate(program(schedule), Costs(1, 0, 2, 1, factors), Rendezvous)


def test_send_first_hangs_and_the_circle_is_named():
    with pytest.raises(ValueError) as found:
        simulate(naive(one_f_one_b(2, 3)), messages=Rendezvous)
    assert str(found.value) == (
        "program: rank 0 waits at 'send 0F1' for rank 1; "
        "rank 1 waits at 'send 1B0' for rank 0"
    )
    with pytest.raises(ValueError) as found:
        simulate(naive(interleaved(3, 3, 2)), messages=Rendezvous)
    assert str(found.value) == (
        "program: rank 0 waits at 'send 0F2' for rank 1; "
        "rank 1 waits at 'send 1F1' for rank 2; "
        "rank 2 waits at 'send 2F0' for rank 0"
    )
    simulate(naive(gpipe(4, 3)), messages=Rendezvous)  # one way at a time


def test_the_slowest_stage_sets_the_pace():
    even = simulate(program(one_f_one_b(4, 20)))
    slow = Costs(stages=(1, 1, 1, Fraction(124, 100)))
    made = simulate(program(one_f_one_b(4, 20)), slow)
    assert even.end == 69
    assert made.ideal == Fraction(124, 100) * even.ideal
    assert made.end == made.ideal + 9  # the others only pass it on
    mean = Fraction(424, 400)
    assert made.end > Fraction(112, 100) * mean * even.end


def test_messages_that_take_time_are_waited_for():
    made = simulate(program(gpipe(4, 1)), Costs(message=Fraction(1, 2)))
    assert made.end == 12 + 6 * Fraction(1, 2)


def test_another_number_of_factors_than_stages_is_refused():
    with pytest.raises(ValueError, match="stages: got 3 factors, expected 4"):
        simulate(program(gpipe(4, 2)), Costs(stages=(1, 1, 1)))
