"""Step by step the same as diffusers' schedulers, on the same network."""

import pytest
import torch
from diffusers import (
    DDIMInverseScheduler,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from llmnotes.diffusion.ddim import (
    DDIM,
    DPMSolver2M,
    Flow,
    encode,
    leading,
    line,
    linspace,
    path,
    trailing,
    visited,
)
from llmnotes.diffusion.ddim.model import points
from llmnotes.diffusion.ddpm import Denoiser, cosine, linear
from llmnotes.diffusion.ddpm.model import draw
from tests.diffusion.ddim.small import (
    SHAPE,
    TARGETS,
    Crooked,
    crooked,
    noise,
    seeded,
)

STEPS = 10
BETAS = {"linear": linear(), "cosine": cosine()}


def options(betas, **more):
    """A scheduler's, with our schedule instead of its own."""
    return {"trained_betas": betas.tolist(), **more}


def exactly(scheduler, denoiser):
    """Give it ᾱ in float64: its own are a product in float32."""
    scheduler.alphas_cumprod = denoiser.schedule.alphas_bar[1:]
    scheduler.final_alpha_cumprod = torch.tensor(1.0).double()
    return scheduler


def sharply(scheduler, denoiser, times):
    """Give it σ / α in float64; its states stay float32."""
    way = points(denoiser.schedule, times)
    ratios = torch.tensor(
        [p.sigma / p.alpha for p in way], dtype=torch.float64
    )
    theirs = scheduler.sigmas.double()
    torch.testing.assert_close(theirs, ratios, rtol=1e-4, atol=0)
    scheduler.sigmas = ratios
    return scheduler


def asked(denoiser, x, t):
    """What the network says where diffusers counts t - 1."""
    times = torch.full(x.shape[:1], int(t) + 1)
    exact = x.to(denoiser.network.weights.dtype)  # theirs are float32
    return denoiser(exact, times).detach()


def walked(scheduler, denoiser, x, said=None, **more):
    """All states of diffusers' loop, as its pipelines write it."""
    states = [x]
    for t in scheduler.timesteps:
        model_input = scheduler.scale_model_input(states[-1], t)
        output = asked(denoiser, model_input, t)
        kept = {k: v() if callable(v) else v for k, v in more.items()}
        states.append(scheduler.step(output, t, states[-1], **kept)[0])
    return states


def ours(denoiser, x, steps=STEPS, **more):
    """All states of our loop."""
    times = visited(denoiser.schedule.steps, steps)
    return [s.detach() for s in path(denoiser, x, times, **more)]


def farthest(mine, theirs):
    """The largest difference of any state, as a part of its largest."""
    return max(
        float((a - b).abs().max() / b.abs().max())
        for a, b in zip(mine, theirs, strict=True)
    )


@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_is_diffusers_step_by_step(kind, betas, eta):
    denoiser, x = crooked(TARGETS[kind], BETAS[betas]), noise(*SHAPE)
    for clip in (None, 1.0):
        for follow in (False, True):
            scheduler = exactly(
                DDIMScheduler(
                    **options(BETAS[betas], prediction_type=kind),
                    clip_sample=clip is not None,
                    timestep_spacing="trailing",
                ),
                denoiser,
            )
            scheduler.set_timesteps(STEPS)
            fresh = seeded(7)
            theirs = walked(
                scheduler, denoiser, x, eta=eta,
                use_clipped_model_output=follow,
                variance_noise=lambda fresh=fresh: draw(
                    SHAPE, "cpu", fresh
                ).double(),
            )  # fmt: skip
            mine = ours(
                denoiser, x, solver=DDIM(eta, follow), clip=clip,
                generator=seeded(7),
            )  # fmt: skip
            assert farthest(mine, theirs) < 1e-10


@pytest.mark.parametrize("kind", TARGETS)
def test_ddim_with_diffusers_own_numbers_is_as_near_as_float32(kind):
    denoiser, x = crooked(TARGETS[kind]).float(), noise(*SHAPE).float()
    scheduler = DDIMScheduler(prediction_type=kind)  # all other defaults
    scheduler.set_timesteps(STEPS)
    theirs = walked(scheduler, denoiser, x)
    mine = ours(denoiser, x, leading(1000, STEPS), solver=DDIM(follow=False))
    assert farthest(mine, theirs) < 1e-5


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_euler_of_k_diffusion_is_ddim_in_other_units(kind):
    denoiser, x = crooked(TARGETS[kind]), noise(*SHAPE)
    scheduler = EulerDiscreteScheduler(
        **options(linear(), prediction_type=kind), timestep_spacing="trailing"
    )
    scheduler.set_timesteps(STEPS)
    times = visited(1000, STEPS)
    sharply(scheduler, denoiser, times)
    way = points(denoiser.schedule, times)
    theirs = walked(scheduler, denoiser, x / way[0].alpha)
    theirs = [s * p.alpha for s, p in zip(theirs, way, strict=True)]
    assert farthest(ours(denoiser, x, clip=None), theirs) < 1e-6


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("final", ["sigma_min", "zero"])
def test_dpm_solver_is_diffusers_step_by_step(kind, final):
    denoiser, x = crooked(TARGETS[kind]), noise(*SHAPE)
    scheduler = DPMSolverMultistepScheduler(
        **options(linear(), prediction_type=kind),
        timestep_spacing="trailing",
        final_sigmas_type=final,
        lower_order_final=False,
    )
    scheduler.set_timesteps(STEPS)
    times = visited(1000, STEPS)
    if final == "sigma_min":
        times[-1] = 1
    theirs = walked(sharply(scheduler, denoiser, times), denoiser, x)
    mine = [s.detach() for s in path(
        denoiser, x, times, solver=DPMSolver2M(), clip=None
    )]  # fmt: skip
    assert farthest(mine, theirs) < 1e-6


def test_dpm_solver_with_diffusers_defaults_is_ours_with_its_steps():
    denoiser, x = crooked(), noise(*SHAPE)
    scheduler = DPMSolverMultistepScheduler()  # "linspace", and one fewer
    scheduler.set_timesteps(STEPS)
    times = [int(t) + 1 for t in scheduler.timesteps]
    assert times == linspace(1000, STEPS + 1)[:-1]
    sharply(scheduler, denoiser, [*times, 0])
    mine = ours(denoiser, x, times, solver=DPMSolver2M(), clip=None)
    assert farthest(mine, walked(scheduler, denoiser, x)) < 1e-6


def test_the_flow_s_euler_is_ddim_on_the_line():
    denoiser = Denoiser(Crooked(10), line(), Flow())
    x = noise(*SHAPE)
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[1 - i / STEPS for i in range(STEPS)])
    states = [x.float()]
    for t in scheduler.timesteps:  # here diffusers counts as we do
        output = asked(denoiser, states[-1].double(), round(float(t)) - 1)
        states.append(scheduler.step(output.float(), t, states[-1])[0])
    assert farthest(ours(denoiser, x, clip=None), states) < 1e-6


def test_the_way_back_is_diffusers_inverse_scheduler():
    denoiser, x0 = crooked(), noise(*SHAPE)
    scheduler = DDIMInverseScheduler(
        **options(linear()), clip_sample=False, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(STEPS)
    scheduler.alphas_cumprod = denoiser.schedule.alphas_bar[1:]
    scheduler.initial_alpha_cumprod = torch.tensor(1.0).double()
    theirs = walked(scheduler, denoiser, x0)[-1]
    mine = encode(denoiser, x0, steps=STEPS)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_diffusers_ddim_steps_are_of_one_length_whatever_the_spacing():
    # it goes to t - 1000 // 7 = t - 142, and is asked at other times next
    denoiser, x = crooked(), noise(*SHAPE)
    scheduler = exactly(
        DDIMScheduler(
            **options(linear()), clip_sample=False, timestep_spacing="linspace"
        ),
        denoiser,
    )
    scheduler.set_timesteps(7)
    times = scheduler.timesteps.tolist()
    assert times[:3] == [999, 832, 666]  # it went to 857, says 832
    theirs = walked(scheduler, denoiser, x)
    mine = ours(denoiser, x, [999 + 1, 999 - 142 + 1], clip=None)
    assert farthest(mine[1:2], theirs[1:2]) < 1e-10
    meant = ours(denoiser, x, linspace(1000, 7), clip=None)
    assert farthest(meant[1:2], theirs[1:2]) > 0.01


@pytest.mark.parametrize("spacing", [leading, trailing])
def test_where_steps_divide_the_schedule_the_length_is_right(spacing):
    denoiser, x = crooked(), noise(*SHAPE)
    scheduler = exactly(
        DDIMScheduler(
            **options(linear()), clip_sample=False,
            timestep_spacing=spacing.__name__,
        ),
        denoiser,
    )  # fmt: skip
    scheduler.set_timesteps(8)
    mine = ours(denoiser, x, spacing(1000, 8), clip=None)
    assert farthest(mine, walked(scheduler, denoiser, x)) < 1e-10
