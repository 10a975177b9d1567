"""How long a picture takes, beside diffusers' scheduler and beside DDPM."""

import statistics

import jaxtyping
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from llmnotes.diffusion import ddpm
from llmnotes.diffusion.ddim import DDIM, DPMSolver2M, sample, solve, visited
from llmnotes.diffusion.ddpm.task import SHAPE, generator
from tests.diffusion.ddim import draws

DPM = {"algorithm_type": "dpmsolver++", "lower_order_final": False}


@pytest.fixture(autouse=True)
def fair_ground():
    """One thread for everybody, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


def scheduler_of(kind, denoiser, **more):
    return kind(
        trained_betas=denoiser.schedule.betas[1:].tolist(),
        prediction_type="v_prediction", timestep_spacing="trailing", **more,
    )  # fmt: skip


def theirs(kind, denoiser, x, classes, steps, **more):
    """diffusers' loop, as its pipelines write it."""
    scheduler = scheduler_of(kind, denoiser, **more)

    def go():
        scheduler.set_timesteps(steps)
        with torch.no_grad():
            return walk(scheduler, denoiser, x, classes)

    return go


def walk(scheduler, denoiser, x, classes):
    for t in scheduler.timesteps:
        times = ((t + 1) / denoiser.schedule.steps).expand(len(x))
        said = denoiser.network(x, times.float(), classes)
        x = scheduler.step(said, t, x, return_dict=False)[0]
    return x


def ours(solver, denoiser, x, classes, steps, clip):
    """Our loop from the same noise."""

    def go():
        times = visited(denoiser.schedule.steps, steps)
        return solve(denoiser, x, times, classes, solver=solver, clip=clip)

    return go


def contestants(denoiser, x, classes, steps):
    """{(solver, whose): a call}; equal ends are checked before the race."""
    about = denoiser, x, classes, steps
    return {
        ("DDIM", "ours"): ours(DDIM(follow=False), *about, 1.0),
        ("DDIM", "diffusers"): theirs(DDIMScheduler, *about),
        ("DPM-Solver++ 2M", "ours"): ours(DPMSolver2M(), *about, None),
        ("DPM-Solver++ 2M", "diffusers"): theirs(
            DPMSolverMultistepScheduler, *about, **DPM
        ),
    }


def check_equal(calls):
    """Both draw the same pictures, or there is nothing to race."""
    for solver in {solver for solver, _ in calls}:
        mine, other = (calls[solver, who]() for who in ("ours", "diffusers"))
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)


@pytest.mark.timing
def bench_a_picture_beside_diffusers(race, record):
    denoiser, calls = draws.model("v", 0), {}
    for batch in (1, 100):
        x = torch.randn(batch, *SHAPE, generator=generator(0))
        classes = torch.arange(batch) % 10
        both = contestants(denoiser, x, classes, 10)
        check_equal(both)
        calls |= {(*name, batch): call for name, call in both.items()}
    found = race(calls, rounds=15, slice_s=0.2)
    spent = {name: statistics.median(s) for name, s in found.items()}
    record(
        "beside_diffusers",
        kind="timing",
        seed=0,
        title="A digit in ten steps, the same weights, noise and pictures",
        prediction=(
            "As long as diffusers' loop or less: the network is nearly all "
            "of it."
        ),
        columns={"sampler": "", "whose": "", "batch": "", "seconds": "s",
                 "share": ""},
        labels={"batch": "pictures at once", "seconds": "time per picture",
                "share": "of diffusers' time"},
        rows=[
            (solver, who, batch, seconds / batch,
             seconds / spent[solver, "diffusers", batch])
            for (solver, who, batch), seconds in spent.items()
        ],
    )  # fmt: skip


@pytest.mark.timing
def bench_a_picture_by_steps(race, record):
    denoiser = draws.model("v", 0)
    classes = torch.arange(100) % 10

    def drawing(steps, solver):
        return lambda: sample(
            denoiser, (100, *SHAPE), classes, generator=generator(0),
            steps=steps, solver=solver,
        )  # fmt: skip

    solvers = {"DDIM": DDIM(), "DPM-Solver++ 2M": DPMSolver2M()}
    calls = {
        (name, steps): drawing(steps, solver)
        for name, solver in solvers.items()
        for steps in (3, 5, 10, 20, 50)
    }
    calls["DDPM", 1000] = lambda: ddpm.sample(
        denoiser, (100, *SHAPE), classes, generator=generator(0)
    )
    found = race(calls, rounds=5, slice_s=0.2)
    spent = {n: statistics.median(s) / 100 for n, s in found.items()}
    record(
        "by_steps",
        kind="timing",
        seed=0,
        title="Time of a digit, a hundred at once",
        prediction="In proportion to the steps: ten take a hundredth.",
        columns={"sampler": "", "steps": "", "seconds": "s", "faster": ""},
        labels={"seconds": "time per picture", "faster": "times as fast"},
        rows=[
            (*name, seconds, spent["DDPM", 1000] / seconds)
            for name, seconds in spent.items()
        ],
    )
