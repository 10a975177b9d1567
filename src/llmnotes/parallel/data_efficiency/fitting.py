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
STEPS, HALVINGS = 300, 30
ENOUGH = 1e-8  # of the misfit: a step that gains less was the last
STARTS = torch.tensor(
    [*product((-1, 0.5), (0, 5, 10), (0, 5, 10), (0.2, 0.6), (0.2, 0.6))],
    dtype=torch.float64,
)


def misfit(
    theta: Thetas, counts: Float[Tensor, "starts runs"], *points: Points
) -> Float[Tensor, "starts"]:
    """How far laws are from runs. A sum: a mean of them looks like zero.

    Source: Hoffmann et al. 2022, equation 3.
    """
    log_n, log_d, log_loss = (one.log() for one in points)
    e, a, b, alpha, beta = theta.T[..., None]
    terms = a - alpha * log_n, b - beta * log_d
    terms = torch.stack([*terms, e.expand_as(terms[0])])
    apart = (torch.logsumexp(terms, dim=0) - log_loss).abs()
    near = apart.clamp(max=DELTA)  # ½x² up to δ, then a line
    return (near * (apart - near / 2) * counts).sum(dim=1)


def slope(theta: Thetas, counts, *points) -> tuple[Tensor, Tensor]:
    """The misfit of each theta, and its gradient."""
    theta = theta.detach().requires_grad_()
    value = misfit(theta, counts, *points)
    (gradient,) = torch.autograd.grad(value.sum(), theta)
    return value.detach(), gradient


def shorter(theta, step, value, gradient, *about):
    """Halve each step until it goes down enough; to nothing if none does."""
    enough = 1e-4 * (step * gradient).sum(1)
    scale = torch.ones_like(value)
    for _ in range(HALVINGS):
        tried = misfit(theta + scale[:, None] * step, *about)
        bad = ~(tried <= value + scale * enough)
        if not bad.any():
            return scale[:, None] * step
        scale[bad] /= 2
    scale[bad] = 0
    return scale[:, None] * step


def updated(inverse, step, change):
    """BFGS: the inverse Hessian after a step that changed the gradient."""
    along = (step * change).sum(1)
    rho = torch.where(along > 1e-16, 1 / along, 0.0)  # else keep it
    eye = torch.eye(step.shape[1], dtype=step.dtype)
    outer = "s,si,sj->sij"
    left = eye - torch.einsum(outer, rho, step, change)
    turned = left @ inverse @ left.mT
    return turned + torch.einsum(outer, rho, step, step)


def descend(
    starts: Thetas, counts: Float[Tensor, "starts runs"], *points: Points
) -> tuple[Float[Tensor, "starts"], Thetas]:
    """BFGS from every start: the misfits that were reached, and where.

    A start that has arrived, or cannot go down, takes no more part.
    """
    theta, (value, gradient) = starts.clone(), slope(starts, counts, *points)
    inverse = torch.eye(5, dtype=theta.dtype).repeat(len(theta), 1, 1)
    on = torch.arange(len(theta))
    for _ in range(STEPS):
        step = -torch.einsum("sij,sj->si", inverse[on], gradient[on])
        about = counts[on], *points
        step = shorter(theta[on], step, value[on], gradient[on], *about)
        new, slopes = slope(theta[on] + step, *about)
        inverse[on] = updated(inverse[on], step, slopes - gradient[on])
        moves = value[on] - new > ENOUGH * new
        theta[on] += step
        value[on], gradient[on] = new, slopes
        on = on[moves]
        if not len(on):
            break
    return value, theta


def fit(
    parameters: Points, tokens: Points, loss: Points, starts: Thetas = STARTS
) -> Law:
    """The law that fits runs best, from a grid of starts.

    Raises `ValueError` for fewer than five runs, as many as a law has
    numbers, for different lengths, and for what is not above 0.
    """
    points = as_runs(parameters, tokens, loss)
    counts = torch.ones(len(starts), len(points[0]), dtype=torch.float64)
    value, theta = descend(starts, counts, *points)
    return law_of(theta[value.argmin()])


def law_of(theta: Float[Tensor, "5"]) -> Law:
    """The law of one theta."""
    return Law(*theta[:3].exp().tolist(), *theta[3:].tolist())


def theta_of(law: Law) -> Float[Tensor, "5"]:
    """The theta of a law; of a number that is 0, the least logarithm."""
    least = torch.finfo(torch.float64).tiny
    logs = (math.log(max(x, least)) for x in (law.floor, law.a, law.b))
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

    Each descends from `law` and from four starts of the grid.
    """
    points = as_runs(parameters, tokens, loss)
    count = len(points[0])
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(count, (draws, count), generator=generator)
    counts = torch.zeros(draws, count, dtype=torch.float64)
    counts.scatter_add_(1, drawn, torch.ones_like(counts))
    starts = torch.cat([theta_of(law)[None], STARTS[:: len(STARTS) // 4]])
    value, theta = descend(
        starts.repeat(draws, 1),
        counts.repeat_interleave(len(starts), dim=0),
        *points,
    )
    best = value.view(draws, -1).argmin(1)
    found = theta.view(draws, -1, 5)[torch.arange(draws), best]
    return [law_of(one) for one in found]
