"""Denoisers that ask another one, and say something else of x_0.

A sampler sees no difference: a guided denoiser has the schedule, `data` and
`noise` of any other, so each works with each.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.diffusion.ddpm import Denoiser
from llmnotes.diffusion.ddpm.targets import noise_from


class Guided(Denoiser):
    """Says x_0 by its own `data`; what the target asks for follows."""

    def __init__(self, denoiser: Denoiser):
        nn.Module.__init__(self)  # it has no network of its own
        self.denoiser = denoiser

    @property
    def network(self):
        """That of the denoiser it asks; so are schedule and target."""
        return self.denoiser.network

    @property
    def schedule(self):
        """How much noise there is at each step."""
        return self.denoiser.schedule

    @property
    def target(self):
        """What the network was trained to say."""
        return self.denoiser.target

    def nothing(self, condition: Any) -> Any:
        """A condition of this form that says nothing."""
        return self.denoiser.nothing(condition)

    def forward(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """What the target asks for, after guidance."""
        levels = self.schedule.alpha(t, xt), self.schedule.sigma(t, xt)
        x0 = self.data(xt, t, condition)
        return self.target.of(x0, noise_from(x0, xt, *levels), *levels)


class Unconditional(Guided):
    """Hears no condition: what the null branch alone draws."""

    def data(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """x_0, whatever it is asked for."""
        return self.denoiser.data(xt, t)


class Thresholded(Guided):
    """Brings x_0 back to where pictures are, by a rule, at each step."""

    def __init__(self, denoiser: Denoiser, rule: Callable[[Tensor], Tensor]):
        super().__init__(denoiser)
        self.rule = rule

    def data(
        self,
        xt: Float[Tensor, "batch *shape"],
        t: Int[Tensor, "batch"],
        condition: Any = None,
    ) -> Float[Tensor, "batch *shape"]:
        """x_0 after the rule."""
        return self.rule(self.denoiser.data(xt, t, condition))
