"""One map in three forms: a recurrence, a masked matrix, and chunks of both.

In Mamba-2 all numbers of a head's state fade alike. Then the state is a
matrix, and

    H_t = exp(fade_t)·H_{t-1} + B_tᵀx_t      y_t = C_t H_t

is attention without a softmax, whose mask L holds a decay for each pair:

    y = (L ∘ CBᵀ) x,   L_ts = exp(fade_{s+1} + … + fade_t),  0 for s > t

    x    = what is written, ΔX: a row of head_dim numbers for each token
    fade = ΔA ≤ 0, the logarithm of a decay; -inf empties the state
    B, C = its keys and queries, rows of `state` numbers
    H    = (state, head_dim)

Sources
- Dao and Gu 2024, "Transformers are SSMs", arXiv 2405.21060, §3.3 (the mask),
  §5 (duality), §6 (chunks), listing 1.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import check_sizes, checked, seen
from llmnotes.precision import as_written, wide


def segments(
    fade: Float[Tensor, "... length"],
) -> Float[Tensor, "... length length"]:
    """fade_{s+1} + … + fade_t for all t ≥ s, and -inf for the rest.

    Summed up from s on. The difference of two sums from the start would lose
    the small one in the large, and be NaN behind a text's beginning.
    """
    length = fade.shape[-1]
    square = fade[..., None].expand(*fade.shape, length)
    whole = torch.ones(length, length, dtype=torch.bool, device=fade.device)
    sums = square.masked_fill(~whole.tril(-1), 0).cumsum(-2)
    return sums.masked_fill(~whole.tril(), -torch.inf)


@checked
def loop(
    x: Float[Tensor, "batch heads length head_dim"],
    fade: Float[Tensor, "batch heads length"],
    B: Float[Tensor, "batch heads length state"],
    C: Float[Tensor, "batch heads length state"],
    *,
    start: Float[Tensor, "batch heads state head_dim"] | None = None,
) -> tuple[
    Float[Tensor, "batch heads length head_dim"],
    Float[Tensor, "batch heads state head_dim"],
]:
    """Return y and the last state, token by token."""
    check_fade(fade)
    with as_written(x) as dtype:
        x, fade, B, C = map(wide, (x, fade, B, C))
        state, out = begin(x, B, start), []
        for t in range(x.shape[2]):
            write = B[:, :, t, :, None] * x[:, :, t, None]
            state = fade[:, :, t, None, None].exp() * state + write
            out.append((C[:, :, t, None] @ state)[:, :, 0])
        return torch.stack(out, 2).to(dtype), state


@checked
def matrix(
    x: Float[Tensor, "batch heads length head_dim"],
    fade: Float[Tensor, "batch heads length"],
    B: Float[Tensor, "batch heads length state"],
    C: Float[Tensor, "batch heads length state"],
) -> Float[Tensor, "batch heads length head_dim"]:
    """Return y by one product with a masked matrix, (length, length)."""
    check_fade(fade)
    with as_written(x) as dtype:
        x, fade, B, C = map(wide, (x, fade, B, C))
        scores = segments(fade).exp() * (C @ B.mT)
        return (scores @ x).to(dtype)


@checked
def chunked(
    x: Float[Tensor, "batch heads length head_dim"],
    fade: Float[Tensor, "batch heads length"],
    B: Float[Tensor, "batch heads length state"],
    C: Float[Tensor, "batch heads length state"],
    *,
    chunk: int = 64,
    start: Float[Tensor, "batch heads state head_dim"] | None = None,
) -> tuple[
    Float[Tensor, "batch heads length head_dim"],
    Float[Tensor, "batch heads state head_dim"],
]:
    """Return y and the last state: matrices inside chunks, a state between.

    The last chunk may be shorter. Raises `ValueError` for a chunk below 1, a
    `fade` above 0 and for what does not fit.
    """
    check_sizes(chunk=chunk)
    check_fade(fade)
    with as_written(x) as dtype:
        x, fade, B, C = map(wide, (x, fade, B, C))
        state, out = begin(x, B, start), []
        pieces = (part.split(chunk, dim=2) for part in (x, fade, B, C))
        for piece in zip(*pieces, strict=True):
            y, state = one_chunk(*piece, state)
            out.append(y)
        return torch.cat(out, 2).to(dtype), state


def one_chunk(x, fade, B, C, state) -> tuple[Tensor, Tensor]:
    """Y of a chunk, and the state behind it."""
    decay = segments(fade).exp()
    inside = (decay * (C @ B.mT)) @ x
    since = fade.cumsum(-1).exp()[..., None]  # the start, up to each token
    until = decay[..., -1, :, None]  # from each token to the end
    before = since * (C @ state)
    return inside + before, since[..., -1:, :] * state + (until * B).mT @ x


def begin(x: Tensor, B: Tensor, start: Tensor | None) -> Tensor:
    """The state before the first token."""
    if start is not None:
        return wide(start)
    return x.new_zeros(*x.shape[:2], B.shape[-1], x.shape[-1])


def check_fade(fade: Tensor) -> None:
    """Raise `ValueError` for a state that would grow."""
    if seen(fade) and not (most := fade.max().item()) <= 0:
        raise ValueError(
            f"fade: got {most:g}, expected none above 0: the state would grow"
        )
