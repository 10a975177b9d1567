import pytest
import torch
from torch import nn

from llmnotes.diffusion.ddim import (
    DDIM,
    DPMSolver2M,
    Euler,
    Guess,
    Point,
    encode,
    path,
    sample,
    solve,
    visited,
)
from llmnotes.diffusion.ddim.model import points
from llmnotes.diffusion.ddpm import Schedule, Velocity, cosine, linear
from llmnotes.diffusion.ddpm import sample as ddpm_sample
from tests.diffusion.ddim.small import (
    carried,
    crooked,
    exact,
    noise,
    one_part,
    seeded,
    slow,
    three_parts,
)

SOLVERS = [DDIM(), DDIM(follow=False), Euler(), DPMSolver2M()]
SHORT = cosine(23)


def orders(solver, denoiser, last, counts=(32, 64, 128)):
    """log2 of the factors by which the error falls when steps double."""
    x = 1.7 * noise(40, 1)
    first = denoiser.schedule.steps
    errors = []
    for count in counts:
        gap = (first - last) // count
        times = [*range(first, last - 1, -gap)]
        way = points(denoiser.schedule, [first, last])
        found = solve(denoiser, x, times, solver=solver, clip=None)
        errors.append((found - exact(denoiser, x, *way)).abs().mean())
    errors = torch.stack(errors)
    return (errors[:-1] / errors[1:]).log2().tolist()


@pytest.mark.parametrize(
    ("solver", "order"), [(Euler(), 1), (DDIM(), 1), (DPMSolver2M(), 2)]
)
def test_twice_the_steps_divide_the_error_by_two_or_by_four(solver, order):
    found = orders(solver, three_parts(slow()), last=512)
    assert found == pytest.approx([order] * len(found), abs=0.2)


def test_the_ode_keeps_everybody_s_rank_as_an_independent_solver_says():
    from scipy.integrate import solve_ivp

    denoiser = three_parts()
    now, then = points(denoiser.schedule, [700, 5])
    x = 1.5 * noise(6, 1)

    def slope(ratio, scaled):  # of x / α in σ / α: the noise
        alpha = 1 / (1 + ratio**2) ** 0.5
        xt = torch.from_numpy(alpha * scaled)[:, None]
        means, spreads = denoiser.means, denoiser.spreads[:, None]
        off = xt[:, None] - alpha * means
        variance = (alpha * spreads) ** 2 + (alpha * ratio) ** 2
        weights = denoiser.weights(off, variance, None)[..., None]
        picture = weights * (means + alpha * spreads**2 / variance * off)
        picture = picture.sum(1)[:, 0].numpy()
        return (scaled - picture) / ratio

    ends = now.sigma / now.alpha, then.sigma / then.alpha
    start = (x / now.alpha)[:, 0].numpy()
    found = solve_ivp(slope, ends, start, "DOP853", rtol=1e-11, atol=1e-12)
    reached = then.alpha * torch.from_numpy(found.y[:, -1])[:, None]
    ours = exact(denoiser, x, now, then)
    torch.testing.assert_close(ours, reached, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_every_eta_ends_in_the_data_s_own_distribution(eta):
    schedule = Schedule(cosine())
    found = {
        steps: carried(schedule, visited(1000, steps), eta)[1]
        for steps in (10, 100, 1000)
    }
    assert found[1000] == pytest.approx(0.4, rel=0.005)
    assert abs(found[1000] - 0.4) < abs(found[100] - 0.4) / 5
    assert abs(found[100] - 0.4) < abs(found[10] - 0.4) / 5


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_samples_have_the_deviation_that_the_recursion_foretells(eta):
    denoiser = one_part(Schedule(SHORT))
    times = visited(23, 7)
    x = noise(20_000, 1)
    found = solve(
        denoiser, x, times, solver=DDIM(eta), generator=seeded(4), clip=None
    )
    at, expected = carried(denoiser.schedule, times, eta, mean=0.3)
    assert float(found.mean()) == pytest.approx(at, abs=0.01)
    assert float(found.std()) == pytest.approx(expected, rel=0.02)


def test_eta_one_with_every_step_is_ddpm_to_the_last_digits():
    denoiser = crooked(betas=SHORT).float()
    ours = sample(
        denoiser, (3, 2, 5), generator=seeded(), steps=23, solver=DDIM(1.0)
    )
    theirs = ddpm_sample(denoiser, (3, 2, 5), generator=seeded())
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_eta_the_noise_decides_to_the_bit(solver):
    denoiser = crooked(betas=SHORT).float()
    x = noise(3, 2, 5).float()
    options = {"solver": solver, "clip": None}
    first = solve(denoiser, x, visited(23, 9), **options)
    assert torch.equal(first, solve(denoiser, x, visited(23, 9), **options))
    drawn = [
        sample(denoiser, (3, 2, 5), generator=seeded(s), steps=9, **options)
        for s in (0, 0, 1)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_with_eta_equal_noise_ends_in_different_pictures():
    denoiser, x = crooked(betas=SHORT), noise(3, 2, 5)
    one, two = (
        solve(denoiser, x, [23, 9, 0], solver=DDIM(1.0), generator=seeded(s))
        for s in (0, 1)
    )
    assert not torch.equal(one, two)


@pytest.mark.parametrize("solver", [DDIM(), DDIM(1.0), DPMSolver2M()])
def test_one_step_is_the_guess_itself(solver):
    denoiser, x = crooked(Velocity, betas=SHORT), noise(3, 2, 5)
    said = denoiser.data(x, torch.full((3,), 23)).detach()
    ends = solve(denoiser, x, [23, 0], solver=solver, clip=None)
    torch.testing.assert_close(ends, said)
    ends = solve(denoiser, x, [23, 0], solver=solver, clip=0.5)
    torch.testing.assert_close(ends, said.clamp(-0.5, 0.5))


def test_a_path_begins_where_it_is_told_and_stops_there_too():
    denoiser, x = crooked(betas=SHORT), noise(3, 2, 5)
    with torch.no_grad():
        whole = list(path(denoiser, x, [23, 15, 8, 0]))
        half = list(path(denoiser, whole[1], [15, 8]))
    assert torch.equal(whole[0], x) and len(whole) == 4
    assert torch.equal(half[-1], whole[2])


def test_the_condition_reaches_the_denoiser():
    denoiser = three_parts()
    for part, mean in enumerate((-0.8, 0.1, 0.7)):
        ends = sample(
            denoiser, (5, 1), torch.full((5,), part), generator=seeded()
        )
        assert float(ends.mean()) == pytest.approx(mean, abs=0.3)


def test_modes_and_gradients_are_left_as_they_were():
    denoiser = crooked(betas=SHORT).float()
    denoiser.train()
    denoiser.network.eval()
    ends = sample(denoiser, (3, 2, 5), generator=seeded(), steps=3)
    encode(denoiser, ends, steps=3)
    assert denoiser.training and not denoiser.network.training
    assert not ends.requires_grad
    assert denoiser.network.weights.grad is None


def test_gradients_flow_along_a_path_for_whoever_wants_them():
    denoiser, x = crooked(betas=SHORT), noise(3, 2, 5).requires_grad_()
    *_, ends = path(denoiser, x, [23, 11, 0])
    ends.sum().backward()
    assert x.grad.abs().sum() > 0
    assert denoiser.network.weights.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pictures_keep_their_type(dtype):
    denoiser = crooked(betas=SHORT).to(dtype)
    x = noise(3, 2, 5).to(dtype)
    options = {"solver": DDIM(1.0), "generator": seeded()}
    assert solve(denoiser, x, [23, 5, 0], **options).dtype == dtype
    assert encode(denoiser, x, steps=4).dtype == dtype


def back_and_forth(denoiser, x0, steps, rounds):
    x = encode(denoiser, x0, steps=steps, rounds=rounds)
    again = solve(
        denoiser, x, visited(denoiser.schedule.steps, steps), clip=None
    )
    return float((again - x0).square().mean().sqrt())


def test_pictures_come_back_out_of_their_noise():
    denoiser = one_part()
    x0 = 0.3 + 0.4 * noise(9, 1)
    errors = [back_and_forth(denoiser, x0, n, 1) for n in (5, 20, 80)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert back_and_forth(denoiser, x0, 80, 2) < errors[2] / 4


def test_with_enough_rounds_a_gaussian_comes_back_exactly():
    denoiser = one_part(Schedule(linear(8, 0.05, 0.8)), spread=0.3)
    x0 = 0.3 * noise(9, 1)
    assert back_and_forth(denoiser, x0, 8, 1) > 0.1
    assert back_and_forth(denoiser, x0, 8, 30) < 1e-9


def test_where_parts_lie_close_coarse_steps_cannot_be_undone():
    denoiser = three_parts(Schedule(linear(8, 0.05, 0.8)))
    x0 = 0.3 * noise(9, 1)
    assert back_and_forth(denoiser, x0, 8, 30) > 0.03


def test_the_noise_of_a_gaussian_s_picture_is_known():
    denoiser = one_part(mean=0.3, spread=0.4)
    x0 = 0.3 + 0.4 * noise(9, 1)
    x = encode(denoiser, x0, steps=80, rounds=2)
    expected = (x0 - 0.3) / 0.4  # next to nothing is left of the picture
    torch.testing.assert_close(x, expected, rtol=0.05, atol=0.02)


def test_steps_that_the_schedule_lacks_are_refused():
    denoiser, x = crooked(betas=SHORT), noise(3, 2, 5)
    for steps in (0, 24, [30, 2], [5, 8]):
        with pytest.raises(ValueError, match="steps: got"):
            sample(denoiser, (3, 2, 5), generator=seeded(), steps=steps)
        with pytest.raises(ValueError, match="steps: got"):
            encode(denoiser, x, steps=steps)
    with pytest.raises(ValueError, match="steps: got 24 after 24"):
        solve(denoiser, x, [24, 0])


def test_noise_is_never_drawn_from_nowhere():
    denoiser, x = crooked(betas=SHORT), noise(3, 2, 5)
    with pytest.raises(ValueError, match=r"generator: got None.*eta=0.5"):
        solve(denoiser, x, [23, 5, 0], solver=DDIM(0.5))


def test_whatever_has_a_schedule_and_guesses_can_be_sampled():
    class Grey(nn.Module):
        schedule = Schedule(SHORT)

        def data(self, xt, t, condition=None):
            return torch.full_like(xt, 0.25)

    ends = sample(Grey(), (2, 3, 8, 8), generator=seeded(), steps=5)
    assert torch.equal(ends, torch.full((2, 3, 8, 8), 0.25))


def test_the_figure_s_numbers_are_the_package_s():
    from llmnotes._site.figures import ddim as figure

    u = torch.arange(figure.FEW, -1, -1) / figure.FEW
    way = [Point(*figure.levels(float(v))) for v in u]
    found = [1.3]
    for now, then in zip(way, way[1:], strict=False):
        x = torch.tensor([found[-1]], dtype=torch.float64)
        at = figure.guess(found[-1], u[len(found) - 1].item())
        x0 = torch.tensor([at], dtype=torch.float64)
        found.append(
            float(DDIM().step(x, Guess(now, x0, x0), then, None, None))
        )
    assert [x for _, x in figure.few(1.3)] == pytest.approx(found)
