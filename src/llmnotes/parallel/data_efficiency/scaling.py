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
