"""Scaling laws: the loss of a model of N parameters after D tokens.

    L(N, D) = E + A/N^α + B/D^β    C = 6ND, FLOPs of training
    E       = what no model of this kind gets below, nats per token
    a, b    = exponents of the best N and D: N ∝ C^a, D ∝ C^b, a + b = 1
    G       = (αA / βB)^{1/(α+β)}
    R*      = how soon repeated tokens stop counting
    worth   = unique tokens that e epochs of one are as good as

Sources
- Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models"
  (Chinchilla), arXiv 2203.15556, §3.3 and appendix D.3.
- Besiroglu et al. 2024, "Chinchilla Scaling: A replication attempt", arXiv
  2404.10102.
- Muennighoff et al. 2023, "Scaling Data-Constrained Language Models", arXiv
  2305.16264, §3.1 and appendix A.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

FLOPS = 6  # per parameter and token: 2 forward, 4 backward
R_STAR = 15.387756  # the fit of Muennighoff et al. for data


@dataclass(frozen=True)
class Law:
    """E + A/N^α + B/D^β; `law(parameters, tokens)` is a loss in nats."""

    floor: float  # E
    a: float  # A
    b: float  # B
    alpha: float
    beta: float

    def __call__(self, parameters: float, tokens: float) -> float:
        """The loss that the law expects."""
        small = self.a / parameters**self.alpha
        return self.floor + small + self.b / tokens**self.beta

    @property
    def exponent(self) -> float:
        """The power of compute with which the best N grows."""
        return self.beta / (self.alpha + self.beta)

    @property
    def balance(self) -> float:
        """G: where a little more of N and of D help alike."""
        ratio = self.alpha * self.a / (self.beta * self.b)
        return ratio ** (1 / (self.alpha + self.beta))


CHINCHILLA = Law(1.69, 406.4, 410.7, 0.34, 0.28)  # as printed, rounded
BESIROGLU = Law(1.8172, 482.01, 2085.43, 0.3478, 0.3658)


def optimum(compute: float, law: Law = CHINCHILLA) -> tuple[float, float]:
    """Parameters and tokens of the lowest loss for so many FLOPs.

    Raises `ValueError` unless compute is a number above 0.

    Source: Hoffmann et al. 2022, equation 4.
    """
    if not 0 < compute < math.inf:
        raise ValueError(f"compute: got {compute}, expected FLOPs above 0")
    pairs = compute / FLOPS  # N·D
    parameters = law.balance * pairs**law.exponent
    return parameters, pairs / parameters


def crossing(first: Law, second: Law) -> float:
    """The FLOPs at which two laws recommend the same model."""
    apart = second.exponent - first.exponent
    return FLOPS * (first.balance / second.balance) ** (1 / apart)


def worth(epochs: float, star: float = R_STAR) -> float:
    """Unique data of one epoch that so many epochs of it are as good as.

    At most 1 + R*, however often it is read. Raises `ValueError` for less
    than one epoch.

    Source: Muennighoff et al. 2023, equation 5.
    """
    if not 1 <= epochs < math.inf:
        raise ValueError(f"epochs: got {epochs}, expected 1 or more")
    return 1 + star * -math.expm1((1 - epochs) / star)


Points = Float[Tensor, "runs"]
STARTS = [
    (e, a, b, alpha, beta)
    for e in (-1.0, 0.5)
    for a in (0.0, 5.0, 10.0)
    for b in (0.0, 5.0, 10.0)
    for alpha in (0.2, 0.6)
    for beta in (0.2, 0.6)
]  # of ln E, ln A, ln B, α and β
DELTA = 1e-3  # where the Huber loss turns from square to straight


def misfit(
    theta: Float[Tensor, "5"], parameters: Points, tokens: Points, loss: Points
) -> Float[Tensor, ""]:
    """Sum over runs of Huber(ln L expected − ln L measured).

    A sum: divided by the runs, it is so small that an optimizer believes
    it has arrived.

    Source: Hoffmann et al. 2022, equation 3.
    """
    e, a, b, alpha, beta = theta
    terms = torch.stack(
        [
            a - alpha * parameters.log(),
            b - beta * tokens.log(),
            e.expand(len(loss)),
        ]
    )
    apart = torch.logsumexp(terms, dim=0) - loss.log()
    huber = torch.nn.functional.huber_loss
    return huber(
        apart, torch.zeros_like(apart), delta=DELTA, reduction="sum"
    )


def descend(start, *points: Points) -> tuple[float, list[float]]:
    """L-BFGS from one start: the misfit reached, and where."""
    theta = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [theta], max_iter=300, line_search_fn="strong_wolfe",
        tolerance_grad=1e-9, tolerance_change=1e-13,
    )  # fmt: skip

    def closure():
        optimizer.zero_grad()
        value = misfit(theta, *points)
        value.backward()
        return value

    optimizer.step(closure)
    return float(misfit(theta, *points)), theta.tolist()


def fit(
    parameters: Points, tokens: Points, loss: Points, starts=STARTS
) -> Law:
    """The law that fits runs best, from a grid of starts.

    Raises `ValueError` for fewer than five runs, as many as a law has
    numbers, for different lengths, and for what is not above 0.
    """
    points = as_points(parameters, tokens, loss)
    found = [descend(start, *points) for start in starts]
    found = [one for one in found if math.isfinite(one[0])]
    e, a, b, alpha, beta = min(found)[1]
    return Law(math.exp(e), math.exp(a), math.exp(b), alpha, beta)


def as_points(*points: Points) -> list[Points]:
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


def start_of(law: Law) -> tuple[float, ...]:
    """Where a descent begins that goes on from a law."""
    logs = (math.log(x) for x in (law.floor, law.a, law.b))
    return *logs, law.alpha, law.beta


def bootstrap(
    parameters: Points, tokens: Points, loss: Points, law: Law, *,
    draws: int, seed: int = 0,
) -> list[Law]:  # fmt: skip
    """Laws of runs drawn with replacement; each descends from `law`."""
    points = as_points(parameters, tokens, loss)
    generator = torch.Generator().manual_seed(seed)
    starts = [start_of(law), *STARTS[:: len(STARTS) // 4]]
    found = []
    for _ in range(draws):
        count = len(points[0])
        drawn = torch.randint(count, (count,), generator=generator)
        found.append(fit(*(one[drawn] for one in points), starts))
    return found
