"""The selective scan: a linear recurrence whose step depends on its token.

    x     = what is written, a number for each channel
    delta = Δ ≥ 0, how far a token moves the state, for each channel
    A     ≤ 0, how fast each number of a state fades
    B     = where in a channel's state a token writes
    C     = where in it a token reads
    decay = Ā = exp(ΔA)
    write = B̄x = ΔBx; Euler's step for B, zero-order hold for A
    state = h, `state` numbers for each channel
    start = the state before the first token; None: empty
    first = tokens with which a text begins: the state is emptied before them

For each channel and each of its numbers

    h_t = decay_t · h_{t-1} + write_t        y_t = C_t · h_t

In float16 and bfloat16 all is computed in float32, and y is rounded once.

Sources
- Gu and Dao 2023, "Mamba", arXiv 2312.00752, §3.2, algorithm 2.
- Blelloch 1990, "Prefix Sums and Their Applications", §1.4 (recurrences).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llmnotes.checks import checked, seen
from llmnotes.precision import as_written, wide

Pair = tuple[Tensor, Tensor]


@checked
def step(
    x: Float[Tensor, "batch width"],
    delta: Float[Tensor, "batch width"],
    A: Float[Tensor, "width state"],
    B: Float[Tensor, "batch state"],
    C: Float[Tensor, "batch state"],
    before: Float[Tensor, "batch width state"],
) -> tuple[Float[Tensor, "batch width"], Float[Tensor, "batch width state"]]:
    """Return one token's y and the state behind it.

    Raises `ValueError` naming what does not fit, as `selective_scan` does.
    """
    check_steps(delta, A)
    return one_step(x, delta, A, B, C, before)


def one_step(x, delta, A, B, C, before) -> Pair:
    """The same without checks: the line that all of this is about."""
    decay = torch.exp(delta[..., None] * A)
    write = (delta * x)[..., None] * B[:, None]
    state = decay * before + write
    return (state @ C[..., None])[..., 0], state


@checked
def selective_scan(
    x: Float[Tensor, "batch length width"],
    delta: Float[Tensor, "batch length width"],
    A: Float[Tensor, "width state"],
    B: Float[Tensor, "batch length state"],
    C: Float[Tensor, "batch length state"],
    *,
    start: Float[Tensor, "batch width state"] | None = None,
    first: Bool[Tensor, "batch length"] | None = None,
) -> tuple[
    Float[Tensor, "batch length width"], Float[Tensor, "batch width state"]
]:
    """Return y and the last state, step by step.

    Raises `ValueError` for shapes and dtypes that do not fit each other, for
    a Δ that is negative or infinite and for an A above 0.
    """
    check_steps(delta, A)
    with as_written(x) as dtype:
        x, delta, A, B, C = map(wide, (x, delta, A, B, C))
        state = begin(x, A, start)
        out = []
        for t in range(x.shape[1]):
            if first is not None:
                state = state.masked_fill(first[:, t, None, None], 0)
            y, state = one_step(
                x[:, t], delta[:, t], A, B[:, t], C[:, t], state
            )
            out.append(y)
        return torch.stack(out, 1).to(dtype), state


def begin(x: Tensor, A: Tensor, start: Tensor | None) -> Tensor:
    """The state before the first token, in the type we compute in."""
    if start is not None:
        return wide(start)
    return x.new_zeros(x.shape[0], *A.shape)


def check_steps(delta: Tensor, A: Tensor) -> None:
    """Raise `ValueError` for steps backwards and for states that grow."""
    if not seen(delta) or not seen(A):
        return
    least, longest = (x.item() for x in delta.aminmax())
    if not least >= 0:  # nor is NaN
        raise ValueError(f"delta: got {least:g}, expected none below 0")
    if longest == math.inf:
        raise ValueError(f"delta: got {longest:g}, expected finite numbers")
    if not (most := A.max().item()) <= 0:
        raise ValueError(
            f"A: got {most:g}, expected none above 0: the state would grow"
        )


def discretised(
    x: Tensor, delta: Tensor, A: Tensor, B: Tensor, first: Tensor | None
) -> Pair:
    """Decay and write of all tokens, (batch, length, width, state) each."""
    decay = torch.exp(delta[..., None] * A)
    if first is not None:
        decay = decay.masked_fill(first[..., None, None], 0)
    return decay, (delta * x)[..., None] * B[:, :, None]


def compose(one: Pair, two: Pair) -> Pair:
    """Two steps as one: h → a·h + b, and then the same with a′ and b′.

    It may be grouped at will, (f·g)·h = f·(g·h). So a chain of steps can be
    put together in any order of brackets.
    """
    (a, b), (later_a, later_b) = one, two
    return later_a * a, later_a * b + later_b


def tree(
    decay: Float[Tensor, "batch length *shape"],
    write: Float[Tensor, "batch length *shape"],
) -> Float[Tensor, "batch length *shape"]:
    """Return the states after each token in 2 log₂ L steps.

    Before the first it is empty. Neighbours are put together in pairs, the
    pairs are scanned, and a state between two pairs is one step from the one
    before.

    Source: Blelloch 1990, §1.4.
    """
    if decay.shape[1] == 1:
        return write
    left = decay[:, :-1:2], write[:, :-1:2]
    right = decay[:, 1::2], write[:, 1::2]
    odd = tree(*compose(left, right))
    rest = decay[:, 2::2], write[:, 2::2]
    even = rest[0] * odd[:, : rest[0].shape[1]] + rest[1]
    even = torch.cat([write[:, :1], even], dim=1)
    out = torch.empty_like(write)
    out[:, ::2], out[:, 1::2] = even, odd
    return out


@checked
def parallel_scan(
    x: Float[Tensor, "batch length width"],
    delta: Float[Tensor, "batch length width"],
    A: Float[Tensor, "width state"],
    B: Float[Tensor, "batch length state"],
    C: Float[Tensor, "batch length state"],
    *,
    start: Float[Tensor, "batch width state"] | None = None,
    first: Bool[Tensor, "batch length"] | None = None,
) -> tuple[
    Float[Tensor, "batch length width"], Float[Tensor, "batch width state"]
]:
    """`selective_scan` by `tree`; it holds every state at once."""
    check_steps(delta, A)
    with as_written(x) as dtype:
        x, delta, A, B, C = map(wide, (x, delta, A, B, C))
        decay, write = discretised(x, delta, A, B, first)
        begun = decay[:, 0] * begin(x, A, start) + write[:, 0]
        write = torch.cat([begun[:, None], write[:, 1:]], dim=1)
        states = tree(decay, write)
        y = (states @ C[..., None])[..., 0]
        return y.to(dtype), states[:, -1]


Scan = Callable[..., Pair]
