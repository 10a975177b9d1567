"""The S4D layer: each channel its own state space, read in three ways.

    log_step      = ln Δ, one of each channel
    log_fade      = ln(-Re a): whatever is learned, every mode fades
    turn          = Im a (radians for each unit of time)
    c             = C, a complex number as two (PyTorch's optimizers and
                    checkpoints know no others everywhere)
    skip          = D: y = C h + D x
    h             = state, (batch, width, modes), complex: all of the past

Three ways, one answer: `forward` convolves, `step` takes one step, `packed`
scans and may begin anew anywhere.

Sources
- Gu et al. 2022, S4D, arXiv 2206.11893, §3-4 and appendix A (listing).
- Gu, Goel & Ré 2021, S4, arXiv 2111.00396, appendix C.3 (Δ between 0.001
  and 0.1).
"""

import math
from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, check_within, checked
from llmnotes.models.s4.diagonal import (
    Modes,
    diagonal_kernel,
    diagonal_step,
    echo,
    end,
    zoh_diagonal,
)
from llmnotes.models.s4.forms import convolve
from llmnotes.models.s4.hippo import diagonal_linear
from llmnotes.models.s4.scan import restarted, rounds
from llmnotes.models.s4.space import check_fine

STEPS = 0.001, 0.1  # the shortest and the longest Δ that a channel begins at


class S4D(nn.Module):
    """`width` state spaces side by side, of `state` numbers each.

    `modes` says where A begins: `diagonal_linear`, `diagonal_inverse` or
    `diagonal_legs`. Raises `ValueError` for a width below 1, a state that is
    not even, and steps that do not rise from above 0.
    """

    def __init__(
        self,
        width: int,
        state: int = 64,
        modes: Callable[[int], Tensor] = diagonal_linear,
        steps: tuple[float, float] = STEPS,
    ):
        check_sizes(width=width)
        low, high = steps
        if not 0 < low <= high < math.inf:
            raise ValueError(
                f"steps: got {steps}, expected two times, 0 < low <= high"
            )
        super().__init__()
        a = modes(state).to(torch.complex64).expand(width, -1)
        span = math.log(high) - math.log(low)
        self.log_step = nn.Parameter(math.log(low) + span * torch.rand(width))
        self.log_fade = nn.Parameter((-a.real).log())
        self.turn = nn.Parameter(a.imag.clone())
        self.c = nn.Parameter(torch.randn(width, state // 2, 2) / 2**0.5)
        self.skip = nn.Parameter(torch.randn(width))

    def space(self) -> tuple[Modes, Complex[Tensor, "width modes"]]:
        """Δa and B̄, and C: what the parameters stand for.

        Raises `ValueError` once they have been cast to 16 bits.
        """
        check_fine(log_step=self.log_step)
        a = torch.complex(-self.log_fade.exp(), self.turn)
        return (
            zoh_diagonal(a, self.log_step.exp()),
            torch.view_as_complex(self.c),
        )

    def start(self, batch: int) -> Complex[Tensor, "batch width modes"]:
        """The state of so many sequences that have not begun."""
        check_sizes(batch=batch)
        width, modes, _ = self.c.shape
        zeros = self.c.new_zeros(batch, width, modes)
        return torch.complex(zeros, zeros)

    def forward(
        self, x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch length width"]:
        """Read whole sequences from their beginning, by convolution."""
        space, c = self.space()
        wide = self.widened(x)
        kernel = diagonal_kernel(*space, c, x.shape[1])
        return self.out(convolve(wide, kernel), wide, x)

    @checked
    def read(
        self,
        x: Float[Tensor, "batch length width"],
        h: Complex[Tensor, "batch width modes"],
        lengths: Int[Tensor, "batch"] | None = None,
    ) -> tuple[
        Float[Tensor, "batch length width"],
        Complex[Tensor, "batch width modes"],
    ]:
        """Read on from a state; outputs, and the state to go on from.

        With `lengths`, rows are padded behind their end, and each state is
        that behind its row's last real place. Raises `ValueError` for
        lengths that are not 1 … length, and for a state of another layer or
        another batch.
        """
        self.check_state(h)
        space, c = self.space()
        wide = self.widened(x)
        kernel = diagonal_kernel(*space, c, x.shape[1])
        y = convolve(wide, kernel) + echo(space, c, h, x.shape[1])
        if lengths is None:
            return self.out(y, wide, x), end(space, wide, h)
        check_within(1, x.shape[1], lengths=lengths)
        ends = [
            end(space, row[None, :, :n], state[None])
            for row, n, state in zip(wide, lengths.tolist(), h, strict=True)
        ]
        return self.out(y, wide, x), torch.cat(ends)

    @checked
    def step(
        self,
        x: Float[Tensor, "batch width"],
        h: Complex[Tensor, "batch width modes"],
    ) -> tuple[
        Float[Tensor, "batch width"], Complex[Tensor, "batch width modes"]
    ]:
        """One place further, in memory that does not grow.

        Raises `ValueError` for a state of another layer or another batch.
        """
        self.check_state(h)
        space, c = self.space()
        wide = self.widened(x[:, None])[..., 0]
        y, h = diagonal_step(space, c, wide, h)
        return (y + self.skip * wide).to(x.dtype), h

    @checked
    def packed(
        self,
        x: Float[Tensor, "batch length width"],
        first: Bool[Tensor, "batch length"],
    ) -> Float[Tensor, "batch length width"]:
        """Read rows that hold several sequences, by a scan.

        A convolution cannot forget at a border. Here all states are formed,
        `state` numbers for each number of x. Raises `ValueError` for a
        `first` that does not fit x.
        """
        space, c = self.space()
        wide = self.widened(x)
        add = torch.einsum("bwl,wn->blwn", wide.to(c.dtype), space.b)
        keep = restarted(space.a.expand_as(add).flatten(2), first)
        h = rounds(keep, add.flatten(2)).view_as(add)
        y = 2 * torch.einsum("blwn,wn->bwl", h, c).real
        return self.out(y, wide, x)

    def check_state(self, h: Tensor) -> None:
        """Raise `ValueError` for a state that is not one of this layer."""
        got, expected = tuple(h.shape[1:]), tuple(self.c.shape[:2])
        if got != expected:
            raise ValueError(
                f"h: got (width, modes) {got}, expected {expected}"
            )

    @checked
    def widened(
        self, x: Float[Tensor, "batch length width"]
    ) -> Float[Tensor, "batch width length"]:
        """Channels before places, in the dtype of the state space.

        Raises `ValueError` for another width.
        """
        if x.shape[-1] != len(self.skip):
            raise ValueError(
                f"x: got width {x.shape[-1]}, expected {len(self.skip)}"
            )
        turned = rearrange(x, "batch length width -> batch width length")
        return turned.to(self.skip.dtype)

    def out(self, y: Tensor, wide: Tensor, x: Tensor) -> Tensor:
        """Add D x, and give back the shape and dtype of x."""
        y = y + self.skip[:, None] * wide
        return rearrange(y, "batch width length -> batch length width").to(
            x.dtype
        )
