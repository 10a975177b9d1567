"""Steps of an optimizer, tied weights, and the norm of all stages."""

import numpy as np
import pytest
import torch

from llmnotes.parallel.pipeline import (
    clip,
    interleaved,
    one_f_one_b,
    zero_bubble,
)
from tests.parallel.pipeline import ranks, tiny


def alone(m, steps, accumulate):
    """One process: norms and weights after some steps of AdamW, clipped."""
    model = tiny.gpt()
    adam = torch.optim.AdamW(model.parameters(), lr=0.01)
    norms = []
    for step in range(steps):
        adam.zero_grad()
        tiny.backward(
            model,
            [
                tiny.batches(m, accumulate * step + i)
                for i in range(accumulate)
            ],
        )
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        for p in model.parameters():
            p.grad *= (0.5 / norm).clamp(max=1)
        norms.append(norm.item())
        adam.step()
    return norms, {n: p.detach() for n, p in model.named_parameters()}


@pytest.mark.parametrize(
    ("p", "schedule"),
    [
        (1, interleaved(1, 3, 2)),
        (2, one_f_one_b(2, 3)),
        (3, zero_bubble(3, 3)),
        (4, one_f_one_b(4, 3)),
    ],
)
def test_two_steps_that_accumulate_twice_equal_one_process(on, p, schedule):
    norms, weights = alone(3, 2, 2)
    got = on(p, ranks.trained, schedule, 2, 2)
    names = set()
    for mine, held in got:
        np.testing.assert_allclose(mine, norms, rtol=1e-13)
        names |= set(held)
        for name, value in held.items():
            np.testing.assert_allclose(value, weights[name], atol=1e-12)
    assert names == set(weights)
    assert min(norms) > 0.5  # it was clipped
    name = "transformer.wte.weight"
    assert (got[0][1][name] == got[-1][1][name]).all()


@pytest.mark.parametrize("schedule", [one_f_one_b(2, 3), zero_bubble(2, 3)])
def test_a_first_stage_that_is_frozen_has_no_gradients(on, schedule):
    model = tiny.gpt()
    wte = model.transformer.wte.weight  # tied: the last stage has its copy
    free = {name: p for name, p in model.named_parameters()
            if "h.2" in name or "h.3" in name or "ln_f" in name}  # fmt: skip
    tiny.backward(model, [tiny.batches(3)])
    first, last = on(2, ranks.frozen, schedule)
    assert not first[0] and wte.grad is not None
    for name, p in free.items():
        np.testing.assert_allclose(last[0][name], p.grad, atol=1e-12)
    assert first[1] == last[1] > 0


def test_by_hand_three_and_four_make_a_norm_of_five(on):
    for norm, [grad] in on(2, ranks.clipped, [[[3.0]], [[4.0]]], 1.0):
        assert norm == 5
        assert grad[0] in (pytest.approx(0.6), pytest.approx(0.8))


def test_a_tied_weight_counts_once_in_the_norm(on):
    twenty = [[1.0] * 800]
    got = on(2, ranks.clipped, [twenty, twenty], 1.0, [(1, 0)])
    assert [norm for norm, _ in got] == [pytest.approx(800**0.5)] * 2
    np.testing.assert_allclose(got[0][1], got[1][1])
    both = on(2, ranks.clipped, [twenty, twenty], 1.0)
    assert both[0][0] == pytest.approx(40)  # what it must not be


def test_a_norm_below_the_limit_leaves_gradients_as_they_are(on):
    for norm, grads in on(2, ranks.clipped, [[[0.3]], [[0.4]]], 1.0):
        assert norm == pytest.approx(0.5)
        assert grads[0][0] in (pytest.approx(0.3), pytest.approx(0.4))


@pytest.mark.parametrize("limit", [0, -1.0, float("nan")])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(ValueError, match="limit: got .*, expected a number"):
        clip([], limit)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_last_rank_takes_over_the_first_ones_weight(on, p):
    got = on(p, ranks.begun)
    assert got == [0.0, *([float(r) for r in range(1, p - 1)]), 0.0][-p:]


def test_without_the_sum_the_copies_part(on):
    """What `Tie.add_up` is for."""
    first, last = on(2, ranks.left_apart, one_f_one_b(2, 3))
    assert abs(first - last).max() > 1e-3
