"""What the network is asked for: the noise, the picture, or a mix of both.

alpha, sigma = √ᾱ_t, √(1 - ᾱ_t): x_t = alpha x_0 + sigma ε
noise        = ε; data = x_0; velocity = v = alpha ε - sigma x_0

Each is known from any other and x_t. Only what is easy to learn, and how much
a mistake weighs at each t, differs.

Sources
- Ho et al. 2020, arXiv 2006.11239, §3.2 (ε against the mean).
- Salimans & Ho 2022, "Progressive Distillation", arXiv 2202.00512, §4 (v).
"""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Target(Protocol):
    """What a network learns, and how the picture follows from it."""

    def of(self, x0, noise, alpha, sigma) -> Tensor:
        """What the network should have said."""
        ...

    def data(self, said, xt, alpha, sigma) -> Tensor:
        """x_0, from what it said."""
        ...


class Noise:
    """ε, the paper's choice."""

    def of(self, x0, noise, alpha, sigma) -> Tensor:
        """ε."""
        return noise

    def data(self, said, xt, alpha, sigma) -> Tensor:
        """x_0 = (x_t - sigma ε) / alpha; near t = T a small number divides."""
        return (xt - sigma * said) / alpha


class Data:
    """x_0 itself."""

    def of(self, x0, noise, alpha, sigma) -> Tensor:
        """x_0."""
        return x0

    def data(self, said, xt, alpha, sigma) -> Tensor:
        """x_0."""
        return said


class Velocity:
    """Velocity: noise where the picture is clear, -x_0 where it is not."""

    def of(self, x0, noise, alpha, sigma) -> Tensor:
        """The velocity v = alpha ε - sigma x_0."""
        return alpha * noise - sigma * x0

    def data(self, said, xt, alpha, sigma) -> Tensor:
        """x_0 = alpha x_t - sigma v."""
        return alpha * xt - sigma * said


def noise_from(x0, xt, alpha, sigma) -> Tensor:
    """ε, from x_0 and x_t."""
    return (xt - alpha * x0) / sigma
