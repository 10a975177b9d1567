"""Fit a law to runs: Huber loss of a log-sum-exp, from a grid of starts.

    theta   = (ln E, ln A, ln B, α, β)
    counts  = how often each run counts; 1, or drawn for a bootstrap
    misfit  = Σ Huber(ln L expected − ln L measured), δ = 10⁻³
    inverse = BFGS's estimate of the inverse Hessian

Every start descends on its own, all at the same time. The paper's optimizer
is L-BFGS, which remembers the last few steps of many numbers; for five it
can remember all, and is BFGS.

Sources
- Hoffmann et al. 2022, arXiv 2203.15556, equation 3 and appendix D.3.
- Besiroglu et al. 2024, arXiv 2404.10102 (a mean of such small losses ends
  the descent too early; intervals by bootstrap).
- Nocedal and Wright 2006, "Numerical Optimization", algorithm 6.1.
"""

import math
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.parallel.data_efficiency.scaling import Law

Points = Float[Tensor, "runs"]
Thetas = Float[Tensor, "starts 5"]
DELTA = 1e-3  # where the Huber loss turns from square to straight
STEPS, HALVINGS = 1000, 30
STARTS = torch.tensor(
    [*product((-1, 0.5), (0, 5, 10), (0, 5, 10), (0.2, 0.6), (0.2, 0.6))],
    dtype=torch.float64,
)


def misfit(
    theta: Thetas, parameters: Points, tokens: Points, loss: Points,
    counts: Float[Tensor, "#starts runs"],
) -> Float[Tensor, "starts"]:  # fmt: skip
    """How far laws are from runs. A sum: a mean of them looks like zero.

    Source: Hoffmann et al. 2022, equation 3.
    """
    e, a, b, alpha, beta = theta.T[..., None]
    terms = a - alpha * parameters.log(), b - beta * tokens.log()
    terms = torch.stack([*terms, e.expand_as(terms[0])])
    apart = (torch.logsumexp(terms, dim=0) - loss.log()).abs()
    huber = torch.where(
        apart < DELTA, apart.square() / 2, DELTA * (apart - DELTA / 2)
    )
    return (huber * counts).sum(dim=1)


def slope(theta: Thetas, *about: Tensor) -> tuple[Tensor, Tensor]:
    """The misfit of each theta, and its gradient."""
    theta = theta.detach().requires_grad_()
    value = misfit(theta, *about)
    (gradient,) = torch.autograd.grad(value.sum(), theta)
    return value.detach().nan_to_num(nan=math.inf), gradient.nan_to_num()


def shorter(theta, step, value, gradient, about):
    """Halve each step until it goes down enough: what to add."""
    enough = 1e-4 * (step * gradient).sum(1)
    scale = torch.ones_like(value)
    for halving in range(HALVINGS + 1):
        tried = misfit(theta + scale[:, None] * step, *about)
        bad = ~(tried <= value + scale * enough)
        if not bad.any():
            break
        scale[bad] = 0.0 if halving == HALVINGS else scale[bad] / 2
    return scale[:, None] * step


def updated(inverse, step, change):
    """BFGS: the inverse Hessian after a step that changed the gradient."""
    along = (step * change).sum(1)
    fits = along > 1e-14  # else the curve bends the other way: keep it
    rho = torch.where(fits, 1 / along.where(fits, torch.ones(())), 0.0)
    eye = torch.eye(step.shape[1], dtype=step.dtype)
    left = eye - torch.einsum("s,si,sj->sij", rho, step, change)
    return left @ inverse @ left.mT + torch.einsum(
        "s,si,sj->sij", rho, step, step
    )


def descend(starts: Thetas, *about: Tensor) -> tuple[Tensor, Thetas]:
    """BFGS from every start: the misfits that were reached, and where."""
    theta = starts.clone()
    inverse = torch.eye(5, dtype=theta.dtype).repeat(len(theta), 1, 1)
    value, gradient = slope(theta, *about)
    for _ in range(STEPS):
        step = -torch.einsum("sij,sj->si", inverse, gradient)
        with torch.no_grad():
            step = shorter(theta, step, value, gradient, about)
        if not step.any():
            break
        theta, before = theta + step, gradient
        value, gradient = slope(theta, *about)
        inverse = updated(inverse, step, gradient - before)
    return value, theta


def fit(
    parameters: Points, tokens: Points, loss: Points, starts: Thetas = STARTS
) -> Law:
    """The law that fits runs best, from a grid of starts.

    Raises `ValueError` for fewer than five runs, as many as a law has
    numbers, for different lengths, and for what is not above 0.
    """
    points = as_runs(parameters, tokens, loss)
    value, theta = descend(starts, *points, torch.ones_like(points[0])[None])
    return law_of(theta[value.argmin()])


def law_of(theta: Float[Tensor, "5"]) -> Law:
    """The law of one theta."""
    return Law(*theta[:3].exp().tolist(), *theta[3:].tolist())


def theta_of(law: Law) -> Float[Tensor, "5"]:
    """The theta of a law."""
    logs = (math.log(x) for x in (law.floor, law.a, law.b))
    return torch.tensor([*logs, law.alpha, law.beta], dtype=torch.float64)


def as_runs(*points: Points) -> list[Points]:
    """The runs in float64; `ValueError` unless a law can be fitted."""
    sizes = [len(one) for one in points]
    if len(set(sizes)) > 1 or sizes[0] < 5:
        raise ValueError(
            f"parameters, tokens, loss: got {sizes} numbers, expected equally "
            "many, and at least 5"
        )
    names = "parameters", "tokens", "loss"
    for name, one in zip(names, points, strict=True):
        if not bool((one > 0).all()):
            raise ValueError(
                f"{name}: got {float(one.min())}, expected numbers above 0"
            )
    return [one.double() for one in points]


def bootstrap(
    parameters: Points, tokens: Points, loss: Points, law: Law, *,
    draws: int, seed: int = 0,
) -> list[Law]:  # fmt: skip
    """Laws of as many runs, drawn with replacement.

    Each descends from `law` and from nine starts of the grid.
    """
    points = as_runs(parameters, tokens, loss)
    count = len(points[0])
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(count, (draws, count), generator=generator)
    counts = torch.zeros(draws, count, dtype=torch.float64)
    counts.scatter_add_(1, drawn, torch.ones_like(counts))
    starts = torch.cat([theta_of(law)[None], STARTS[:: len(STARTS) // 8]])
    value, theta = descend(
        starts.repeat(draws, 1),
        *points,
        counts.repeat_interleave(len(starts), dim=0),
    )
    best = value.view(draws, -1).argmin(1)
    found = theta.view(draws, -1, 5)[torch.arange(draws), best]
    return [law_of(one) for one in found]
