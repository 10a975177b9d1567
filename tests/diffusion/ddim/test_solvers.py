import math

import pytest
import torch

from llmnotes.diffusion.ddim import (
    DDIM,
    DPMSolver2M,
    Euler,
    Guess,
    Point,
    most_noise,
)
from llmnotes.diffusion.ddim.model import points
from llmnotes.diffusion.ddpm import Schedule, cosine, linear, scaled_linear
from tests.diffusion.ddim.small import noise

A, B = Point(0.6, 0.8), Point(0.8, 0.6)
ETAS = 0.0, 0.3, 0.5, 1.0


def step(solver, x, x0, now, then, last=None, z=0.0):
    x, x0, z = (torch.tensor([v], dtype=torch.float64) for v in (x, x0, z))
    guess = Guess(now, x0, x0)
    return float(solver.step(x, guess, then, last, lambda: z))


def test_a_step_by_hand():
    # what x = 1 holds beside 0.6 · 0.5 is a noise of 0.7 / 0.8 = 0.875
    assert step(DDIM(), 1.0, 0.5, A, B) == pytest.approx(0.4 + 0.6 * 0.875)


def test_a_step_of_ddpm_by_hand():
    # σ² = (0.36 / 0.64) · (0.64 - 0.5625 · 0.36); 0.36 - σ² = 0.3375²
    assert most_noise(A, B) ** 2 == pytest.approx(0.24609375, rel=1e-14)
    calm = step(DDIM(eta=1), 1.0, 0.5, A, B)
    assert calm == pytest.approx(0.4 + 0.3375 * 0.875)
    drawn = step(DDIM(eta=1), 1.0, 0.5, A, B, z=2.0)
    assert drawn - calm == pytest.approx(2 * math.sqrt(0.24609375))


@pytest.mark.parametrize("betas", [linear(), cosine(), scaled_linear()])
def test_at_eta_one_the_variance_of_a_single_step_is_that_of_ddpm(betas):
    schedule = Schedule(betas)
    all_points = points(schedule, range(schedule.steps + 1))
    t = torch.arange(1, schedule.steps + 1)
    anything = torch.zeros(len(t), 1, dtype=torch.float64)
    _, variances = schedule.posterior(anything, anything, t)
    for i, variance in enumerate(variances.flatten().tolist()):
        ours = most_noise(all_points[i + 1], all_points[i]) ** 2
        assert abs(ours - variance) < 1e-15


@pytest.mark.parametrize("eta", ETAS)
def test_every_eta_leaves_noise_of_the_next_point_and_no_more(eta):
    # with the true picture, x' = α' x_0 + a ε + b z and a² + b² = σ'²
    way = points(Schedule(cosine(37)), [37, 30, 11, 4, 1, 0])
    for now, then in zip(way, way[1:], strict=False):
        x0 = 0.7
        mean = step(DDIM(eta), now.alpha * x0, x0, now, then)
        assert mean == pytest.approx(then.alpha * x0, abs=1e-14)
        old = step(DDIM(eta), now.sigma, 0.0, now, then)
        new = step(DDIM(eta), 0.0, 0.0, now, then, z=1.0)
        assert old**2 + new**2 == pytest.approx(then.sigma**2, abs=1e-15)
        assert (new == 0) == (eta == 0 or then.sigma == 0)


def test_ddim_is_euler_s_method_in_the_ratio_of_noise_to_picture():
    x, x0 = noise(7), noise(7, seed=1)
    eps = (x - A.alpha * x0) / A.sigma
    # x / α falls along ε as σ / α falls
    scaled = x / A.alpha + (B.sigma / B.alpha - A.sigma / A.alpha) * eps
    ours = DDIM().step(x, Guess(A, x0, x0), B, None, None)
    torch.testing.assert_close(ours, B.alpha * scaled, rtol=1e-14, atol=0)


def test_ddim_on_the_straight_line_is_euler_s_method_in_u():
    x, x0 = noise(7), noise(7, seed=1)
    now, then = Point(0.3, 0.7), Point(0.45, 0.55)
    velocity = (x - x0) / now.sigma  # ε - x_0, of x = (1 - u) x_0 + u ε
    ours = DDIM().step(x, Guess(now, x0, x0), then, None, None)
    euler = x + (then.sigma - now.sigma) * velocity
    torch.testing.assert_close(ours, euler, rtol=1e-13, atol=1e-15)


def test_euler_by_hand():
    # ε = .875; the slope in ln α is 1 - .875 / .8 = -.09375
    ours = step(Euler(), 1.0, 0.5, A, B)
    assert ours == pytest.approx(1 - 0.09375 * math.log(0.8 / 0.6))


@pytest.mark.parametrize("solver", [DDIM(), Euler(), DPMSolver2M()])
def test_small_steps_of_all_solvers_agree(solver):
    angle = 0.9
    then = Point(math.cos(angle - 1e-5), math.sin(angle - 1e-5))
    now = Point(math.cos(angle), math.sin(angle))
    # on the circle x turns: dx/dφ = α ε - σ x_0
    x, x0 = 0.4, -0.3
    eps = (x - now.alpha * x0) / now.sigma
    slope = now.alpha * eps - now.sigma * x0
    moved = step(solver, x, x0, now, then)
    assert moved == pytest.approx(x - 1e-5 * slope, abs=1e-9)


def test_the_guess_is_drawn_on_by_half_a_step():
    before, now, then = (Point(1 / (1 + s), s / (1 + s)) for s in (4, 2, 1))
    # equal steps of λ = ln 2: the guess moves on by half of what it moved
    last = Guess(before, torch.tensor([0.1], dtype=torch.float64), None)
    ours = step(DPMSolver2M(), 1.0, 0.5, now, then, last)
    drawn_on = step(DDIM(), 1.0, 0.5 + (0.5 - 0.1) / 2, now, then)
    assert ours == pytest.approx(drawn_on, rel=1e-14)


@pytest.mark.parametrize(
    ("last", "then"),
    [(None, B), (Point(0.2, 0.9), Point(1.0, 0.0)), (Point(0.0, 1.0), B)],
)
def test_where_lambda_is_infinite_the_second_order_solver_is_ddim(last, then):
    if last is not None:
        last = Guess(last, torch.tensor([9.0]).double(), None)
    assert step(DPMSolver2M(), 1.0, 0.5, A, then, last) == step(
        DDIM(), 1.0, 0.5, A, then
    )


def test_clipping_is_followed_by_the_noise_or_is_not():
    x, said = torch.tensor([1.0]).double(), torch.tensor([1.5]).double()
    guess = Guess(A, said.clamp(-1, 1), said)
    follows = DDIM().step(x, guess, B, None, None)
    stays = DDIM(follow=False).step(x, guess, B, None, None)
    assert float(follows) == pytest.approx(0.8 + 0.6 * (1 - 0.6) / 0.8)
    assert float(stays) == pytest.approx(0.8 + 0.6 * (1 - 0.9) / 0.8)


@pytest.mark.parametrize("eta", [-0.1, 1.01])
def test_an_eta_outside_0_to_1_is_refused(eta):
    with pytest.raises(ValueError, match=f"eta: got {eta}, expected 0 to 1"):
        DDIM(eta)
