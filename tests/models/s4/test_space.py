"""Steps of a state space, against SciPy; and which of them explode."""

import pytest
import torch
from scipy import signal
from scipy.linalg import expm

from llmnotes.models.s4 import (
    bilinear,
    euler,
    kernel,
    legs,
    radius,
    recurrence,
    zoh,
)

STATE, BATCH, LENGTH = 5, 3, 17
RULES = {"zoh": zoh, "bilinear": bilinear, "euler": euler}


def space(seed=0):
    """A, B, C of a state space that fades."""
    torch.manual_seed(seed)
    a = torch.randn(STATE, STATE, dtype=torch.float64)
    a = a - 4 * torch.eye(STATE, dtype=torch.float64)
    b, c = torch.randn(2, STATE, dtype=torch.float64)
    return a, b, c


def theirs(a, b, c, step, rule):
    """SciPy's, of the same space; it calls Euler's rule as we do."""
    system = (a.numpy(), b[:, None].numpy(), c[None].numpy(), [[0.0]])
    return signal.cont2discrete(system, step, method=rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("step", [1e-4, 0.1, 2.0])
def test_a_step_equals_scipys(rule, step):
    for a, b in (space()[:2], legs(STATE)):
        got = RULES[rule](a, b, step)
        da, db, *_ = theirs(a, b, b, step, rule)
        torch.testing.assert_close(got.a, torch.tensor(da))
        torch.testing.assert_close(got.b, torch.tensor(db)[:, 0])


def test_a_space_without_an_inverse_is_held_too():
    a = torch.tensor([[0.0, 1], [0, 0]]).double()  # place and speed
    got = zoh(a, torch.tensor([0.0, 1]).double(), 3.0)
    assert got.a.tolist() == [[1, 3], [0, 1]]
    assert got.b.tolist() == pytest.approx([4.5, 3.0])


def test_one_number_by_hand():
    # h' = -h + x, a step of ln 2: half is kept, and half of x comes in.
    a, b = -torch.ones(1, 1).double(), torch.ones(1).double()
    step = 0.6931471805599453
    assert zoh(a, b, step).a.item() == pytest.approx(0.5)
    assert zoh(a, b, step).b.item() == pytest.approx(0.5)
    assert bilinear(a, b, 1.0).a.item() == pytest.approx(1 / 3)
    assert bilinear(a, b, 1.0).b.item() == pytest.approx(2 / 3)
    assert euler(a, b, 3.0).a.item() == pytest.approx(-2.0)


def test_a_hold_is_exact_where_the_others_err_by_their_order():
    a, b, c = space()
    x = torch.ones(1, 1).double()

    def error(rule, steps):
        """At time 1, of an input that stands still."""
        found = rule(a, b, 1 / steps)
        y, _ = recurrence(*found, c, x.expand(1, steps))
        return (y[0, -1] - exact).abs().item()

    exact = recurrence(*zoh(a, b, 1.0), c, x)[0].item()
    assert error(zoh, 64) < 1e-14
    assert error(euler, 64) / error(euler, 128) == pytest.approx(2, rel=0.1)
    ratio = error(bilinear, 64) / error(bilinear, 128)
    assert ratio == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("step", [0.01, 0.5, 30.0])
def test_two_rules_are_stable_for_every_step(step):
    a, b = legs(8)
    assert radius(zoh(a, b, step).a) < 1
    assert radius(bilinear(a, b, step).a) < 1


def test_eulers_rule_is_stable_below_two_over_the_fastest():
    a, b = legs(8)  # eigenvalues -1 … -8
    assert radius(euler(a, b, 0.249).a) < 1 < radius(euler(a, b, 0.251).a)
    assert radius(euler(a, b, 0.5).a) == pytest.approx(3.0)


@pytest.mark.parametrize("rule", RULES)
def test_outputs_equal_dlsims(rule):
    # SciPy's C and D are meant for an output *before* the update.
    a, b, c = space()
    step = RULES[rule](a, b, 0.1)
    x = torch.randn(BATCH, LENGTH, dtype=torch.float64)
    got, h = recurrence(*step, c, x)
    read_late = c @ step.a, c @ step.b  # C h_t = CĀ h_{t-1} + CB̄ x_t
    for row, out, end in zip(x, got, h, strict=True):
        system = (
            *(step.a.numpy(), step.b[:, None].numpy()),
            *(read_late[0][None].numpy(), [[read_late[1].item()]], 0.1),
        )
        _, y, states = signal.dlsim(system, row.numpy())
        torch.testing.assert_close(out, torch.tensor(y)[:, 0])
        last = step.a @ torch.tensor(states[-1]) + step.b * row[-1]
        torch.testing.assert_close(end, last)


def test_a_kernel_equals_dense_exponentials_and_lfilter():
    a, b, c = space()
    found = kernel(*zoh(a, b, 0.1), c, LENGTH)
    step = zoh(a, b, 0.1)
    for place in (0, 1, 16):
        dense = expm(0.1 * place * a.numpy())
        expected = c.numpy() @ dense @ step.b.numpy()
        assert found[place].item() == pytest.approx(expected, rel=1e-10)
    read = (c @ step.a)[None].numpy(), [[(c @ step.b).item()]]
    top, bottom = signal.ss2tf(step.a.numpy(), step.b[:, None].numpy(), *read)
    impulse = [1.0] + [0.0] * (LENGTH - 1)
    expected = signal.lfilter(top[0], bottom, impulse)
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"step": 0.0}, "step: got 0.0, expected a positive, finite number"),
        ({"step": -1.0}, "step: got -1.0, expected a positive, finite"),
        ({"step": float("inf")}, "step: got inf, expected a positive"),
        ({"step": float("nan")}, "step: got nan, expected a positive"),
        ({"b": torch.ones(4).double()}, "b: got state 4, expected a's 5"),
        ({"a": torch.ones(5, 4).double()}, "a: got state 4, expected a's 5"),
        ({"b": torch.ones(5)}, "b: got dtype torch.float32, expected a's"),
        (
            {"a": torch.full((5, 5), float("nan")).double()},
            "a: got nan, expected finite numbers",
        ),
        (
            {"b": torch.tensor([1.0, 2, 3, 4, -float("inf")]).double()},
            "b: got -inf, expected finite numbers",
        ),
        (
            {"a": torch.ones(5, 5).bfloat16(), "b": torch.ones(5).bfloat16()},
            "a: got torch.bfloat16, expected float32 or float64",
        ),
        (
            {"a": torch.ones(5, 5).half(), "b": torch.ones(5).half()},
            "a: got torch.float16, expected float32 or float64",
        ),
    ],
)
@pytest.mark.parametrize("rule", RULES)
def test_what_is_refused(rule, change, message):
    a, b, _ = space()
    with pytest.raises(ValueError) as error:
        RULES[rule](**{"a": a, "b": b, "step": 0.1, **change})
    assert str(error.value).startswith(message)
