import pytest
import torch

from llmnotes.diffusion.ddim import (
    DDIM,
    DPMSolver2M,
    Flow,
    Rescaled,
    Way,
    crookedness,
    even,
    line,
    onto_circle,
    onto_line,
    path,
    solve,
    visited,
)
from llmnotes.diffusion.ddim.model import points
from llmnotes.diffusion.ddpm import (
    Data,
    Denoiser,
    Noise,
    Schedule,
    Velocity,
    cosine,
    linear,
)
from llmnotes.diffusion.ddpm.model import denoising_loss
from tests.diffusion.ddim.small import (
    SHAPE,
    Crooked,
    crooked,
    exact,
    noise,
    seeded,
    three_parts,
)

TIMES = torch.tensor([1, 9, 23])


def test_on_the_line_half_way_is_the_mean_of_picture_and_noise():
    x0, eps = noise(1, 2, 5), noise(1, 2, 5, seed=1)
    xt = line(20).noisy(x0, torch.tensor([10]), eps)
    torch.testing.assert_close(xt, (x0 + eps) / 2)


def test_the_velocity_is_the_slope_of_the_way():
    x0, eps = noise(2, 3), noise(2, 3, seed=1)
    way, t = line(50), torch.tensor([7, 40])
    ahead, here = way.noisy(x0, t + 1, eps), way.noisy(x0, t, eps)
    slope = (ahead - here) * 50
    torch.testing.assert_close(slope, Flow().of(x0, eps, None, None))


CIRCLE = Schedule(cosine(23))


@pytest.mark.parametrize(
    ("levels", "target"),
    [
        *((line(23), target) for target in (Flow, Noise, Data)),
        *((onto_line(CIRCLE), target) for target in (Flow, Noise, Data)),
        *((CIRCLE, target) for target in (Flow, Noise, Data, Velocity)),
    ],
)
def test_every_target_gives_the_picture_back(levels, target):
    x0, eps = noise(3, 2, 5), noise(3, 2, 5, seed=1)
    t = torch.tensor([1, 9, 22])
    amounts = levels.alpha(t, x0), levels.sigma(t, x0)
    said = target().of(x0, eps, *amounts)
    found = target().data(said, levels.noisy(x0, t, eps), *amounts)
    torch.testing.assert_close(found, x0)


def test_velocities_and_v_are_converted_into_each_other():
    # on the same point, ε and x_0 once as a difference, once turned
    x0, eps = noise(3, 4), noise(3, 4, seed=1)
    schedule = Schedule(cosine(23))
    alpha, sigma = schedule.alpha(TIMES, x0), schedule.sigma(TIMES, x0)
    xt = schedule.noisy(x0, TIMES, eps)
    v = Velocity().of(x0, eps, alpha, sigma)
    velocity = ((alpha + sigma) * v + (sigma - alpha) * xt) / 1.0
    torch.testing.assert_close(velocity, Flow().of(x0, eps, alpha, sigma))


@pytest.mark.parametrize("solver", [DDIM(), DDIM(0.7), DPMSolver2M()])
def test_a_diffusion_model_is_a_flow_model_in_other_units(solver):
    model = crooked(Velocity, cosine(23))
    flow = Rescaled(model, onto_line(model.schedule))
    x, times = noise(*SHAPE), visited(23, 7)
    (start,) = points(flow.schedule, [23])
    units = start.alpha + start.sigma  # 1 on the line; and on the circle
    circle = points(model.schedule, [23])[0]
    scale = units / (circle.alpha + circle.sigma)
    ends = solve(model, x, times, solver=solver, generator=seeded())
    again = solve(flow, scale * x, times, solver=solver, generator=seeded())
    if isinstance(solver, DDIM) and solver.eta:
        assert (ends - again).abs().max() < 1e-12
    torch.testing.assert_close(again, ends, rtol=1e-12, atol=1e-12)


def test_a_flow_model_is_a_diffusion_model_in_other_units():
    flow = Denoiser(Crooked(10), line(23), Flow())
    model = Rescaled(flow, onto_circle(flow.schedule))
    bars = model.schedule.alphas**2 + model.schedule.sigmas**2
    torch.testing.assert_close(bars, torch.ones_like(bars))
    x, times = noise(*SHAPE), visited(23, 7)  # at T both are noise alone
    ours = solve(model, x, times, clip=None)
    theirs = solve(flow, x, times, clip=None)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_on_the_line_the_exact_guess_is_the_same():
    circle = three_parts()
    there = Rescaled(circle, onto_line(circle.schedule))
    on_line = three_parts(there.schedule)
    x, t = noise(5, 1), torch.tensor([1, 40, 500, 900, 1000])
    torch.testing.assert_close(there.data(x, t), on_line.data(x, t))


def test_the_ode_leads_to_the_same_picture_on_either_way():
    # x / (α + σ) of the circle's path is the line's
    circle = three_parts()
    x, times = noise(7, 1), [1000, 600, 300, 0]
    way = points(circle.schedule, times)
    straight = points(onto_line(circle.schedule), times)
    for then, there in zip(way[1:], straight[1:], strict=True):
        one = exact(circle, x, way[0], then) / (then.alpha + then.sigma)
        scaled = x / (way[0].alpha + way[0].sigma)
        two = exact(circle, scaled, straight[0], there)
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


def test_the_simple_loss_trains_a_flow_as_it_is():
    model = Denoiser(Crooked(10), line(23), Flow())
    x0, eps = noise(*SHAPE), noise(*SHAPE, seed=1)
    u = (TIMES / 23).double()
    xt = (1 - u)[:, None, None] * x0 + u[:, None, None] * eps
    by_hand = (model.network(xt, u) - (eps - x0)).square().mean()
    loss = denoising_loss(model, x0, TIMES, eps)
    torch.testing.assert_close(loss, by_hand, rtol=1e-6, atol=1e-6)
    loss.backward()
    assert model.network.weights.grad.abs().sum() > 0


@pytest.mark.parametrize("levels", [line(), Schedule(cosine())])
def test_even_steps_are_even_on_the_line(levels):
    times = even(levels, 10)
    assert times[0] == 1000 and len(times) == 10
    u = [p.sigma / (p.alpha + p.sigma) for p in points(levels, [*times, 0])]
    gaps = torch.tensor(u).diff()
    assert float((gaps + 0.1).abs().max()) < 0.003


def test_straight_paths_have_no_crookedness():
    xs = [(1 - u) * noise(4, 3) + u * noise(4, 3, seed=1) for u in (1, 0.3, 0)]
    assert crookedness(xs, [1, 0.3, 0]) == pytest.approx(0, abs=1e-15)


def test_a_detour_by_hand():
    # from 0 to 1 by way of 1 at half time: velocities 2 and 0 beside 1
    xs = [torch.tensor([[v]]) for v in (0.0, 1.0, 1.0)]
    assert crookedness(xs, [0.0, 0.5, 1.0]) == pytest.approx(1.0)


def test_paths_to_a_gaussian_are_bent_and_to_a_point_straight():
    found = {}
    for spread in (1e-4, 0.4):
        model = three_parts(line(100))
        model.spreads = torch.full((3,), spread).double()
        told = torch.full((9,), 1)
        times = visited(100, 100)
        xs = list(path(model, noise(9, 1), times, told, clip=None))
        us = [p.sigma for p in points(model.schedule, times)]
        found[spread] = crookedness(xs, us)
    assert found[1e-4] < 1e-6 < 0.01 < found[0.4]


@pytest.mark.parametrize(
    ("alphas", "sigmas", "says"),
    [
        ([1.0], [0.0], "expected one row"),
        ([1, 0.5, 0.6], [0, 0.5, 0.4], "does not rise from 0"),
        ([0.9, 0.5], [0.1, 0.5], "does not rise from 0"),
    ],
)
def test_what_is_no_way_into_noise_is_refused(alphas, sigmas, says):
    alphas, sigmas = torch.tensor(alphas), torch.tensor(sigmas)
    with pytest.raises(ValueError, match=f"sigmas: got .*{says}"):
        Way(alphas.double(), sigmas.double())


def test_a_way_through_other_points_is_refused():
    model = crooked(betas=cosine(23))
    with pytest.raises(ValueError, match="schedule: got other points, off"):
        Rescaled(model, line(23))
    with pytest.raises(ValueError, match="got 50 steps, expected 23"):
        Rescaled(model, line(50))
    assert Rescaled(model, onto_circle(onto_line(model.schedule)))


def test_a_way_follows_its_model_and_stays_float64():
    model = Denoiser(Crooked(10), line(23), Flow()).half()
    assert model.schedule.sigmas.dtype == torch.float64
    assert "schedule.sigmas" in model.state_dict()
    assert onto_line(Schedule(linear())).sigmas[-1] > 0.99
