"""Rotary positions (RoPE): turn queries and keys, and scores see the lag.

    head_dim, half = d, d/2 (pairs)
    positions      = m of a query, n of a key (counted from 0)
    frequencies    = θ_i = base^(-2i/d), i = 0 … d/2-1 (the paper counts from
                     1 and writes i-1)
    angles         = m·θ_i (radians)
    factor         = s (how many times longer than in training)
    trained_length = L (positions seen in training)

Sources
- Su et al. 2021, "RoFormer", arXiv 2104.09864, §3.2-3.4 (sections, because
  equation numbers differ between versions).
- Chen et al. 2023, "Extending Context Window of Large Language Models via
  Positional Interpolation", arXiv 2306.15595, §2.3.
- Peng et al. 2023, "YaRN", arXiv 2309.00071, §3.1 (NTK-aware), §3.2-3.4.
- Grattafiori et al. 2024, "The Llama 3 Herd of Models", arXiv 2407.21783,
  and `modeling_rope_utils` of Hugging Face's transformers ("llama3").
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import AbstractDtype, Float, Int
from torch import Tensor

from llmnotes.checks import check_sizes, checked
from llmnotes.transformer.attention import Heads
from llmnotes.transformer.positions import check_even, frequencies


class Angles(AbstractDtype):
    """float32 or float64, whatever is turned: bfloat16 is too coarse."""

    dtypes = ["float32", "float64"]


def fitted(x: Tensor, angles: Tensor) -> Tensor:
    """The angles as they belong to x, which they must not make larger.

    (length, half) hold for everything. (batch, length, half), where texts
    stand at positions of their own, hold for every head of their row.

    Raises `ValueError` unless there is one angle per pair of x, and one for
    all or for each along every axis in front.
    """
    if 2 * angles.shape[-1] != x.shape[-1]:
        raise ValueError(
            f"angles: got {angles.shape[-1]} per position, expected half of "
            f"x's head_dim {x.shape[-1]}"
        )
    if 2 < angles.ndim == x.ndim - 1:
        angles = rearrange(angles, "... length half -> ... 1 length half")
    front = angles.shape[:-2], x.shape[:-2]
    if front[0] and not (
        angles.ndim == x.ndim
        and all(a in (1, b) for a, b in zip(*front, strict=True))
    ):
        raise ValueError(
            f"angles: got {tuple(front[0])} in front of length and half, "
            f"expected none or x's {tuple(front[1])}, with or without heads"
        )
    return angles


def angles_at(
    positions: Int[Tensor, "... length"],
    frequencies: Float[Tensor, "half"],
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "... length half"]:
    """m·θ_i, in float32 at least: bfloat16 cannot count beyond 256.

    Raises `ValueError` for a dtype of fewer than 32 bits.
    """
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype: got {dtype}, expected float32 or float64")
    theta = frequencies.to(dtype).to(positions.device)
    return positions[..., None].to(dtype) * theta


def angles(
    positions: Int[Tensor, "... length"],
    head_dim: int,
    base: float = 10000.0,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "... length half"]:
    """Angles of plain RoPE at any positions, cached ones or new ones.

    Raises `ValueError` if head_dim is not even.

    Source: Su et al. 2021.
    """
    check_even("head_dim", head_dim)
    return angles_at(positions, frequencies(head_dim, base), dtype)


@checked
def rotate_interleaved(
    x: Float[Tensor, "... length head_dim"],
    angles: Angles[Tensor, "... length half"],
) -> Float[Tensor, "... length head_dim"]:
    """Turn the pairs (x_0, x_1), (x_2, x_3), … as the paper does.

    Computed in the dtype of the angles or x, whichever is finer; returned
    in x's.

    Raises `ValueError` naming the argument that does not fit.

    Source: Su et al. 2021, §3.2.
    """
    angles = fitted(x, angles)
    cos, sin = angles.cos(), angles.sin()
    even, odd = rearrange(x, "... (half two) -> two ... half", two=2)
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin])
    return rearrange(turned, "two ... half -> ... (half two)").to(x.dtype)


@checked
def rotate(
    x: Float[Tensor, "... length head_dim"],
    angles: Angles[Tensor, "... length half"],
) -> Float[Tensor, "... length head_dim"]:
    """Turn the pairs (x_0, x_d/2), (x_1, x_d/2+1), …: the half-split layout.

    That of Llama and GPT-NeoX in Hugging Face's transformers. Precision and
    errors as in `rotate_interleaved`.
    """
    angles = fitted(x, angles)
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat(turned, dim=-1).to(x.dtype)


@checked
def rotate_partial(
    x: Float[Tensor, "... length head_dim"],
    angles: Angles[Tensor, "... length half"],
) -> Float[Tensor, "... length head_dim"]:
    """Turn the first 2·half dimensions of x and leave the others as they are.

    That of GPT-NeoX and Phi: what is not turned carries no position.
    """
    width = 2 * angles.shape[-1]
    if width > x.shape[-1]:
        raise ValueError(
            f"angles: got {angles.shape[-1]} per position, expected at most "
            f"half of x's head_dim {x.shape[-1]}"
        )
    return torch.cat([rotate(x[..., :width], angles), x[..., width:]], -1)


@dataclass(frozen=True)
class Rotary:
    """Turns queries and keys: the `prepare` of a `MultiHeadAttention`.

    Angles are (length, half), or (batch, length, half) where the texts of a
    batch stand at positions of their own. A cache comes after it and keeps
    keys that are turned already.
    """

    angles: Angles[Tensor, "... length half"]

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Heads:
        """Return query and key turned by the same angles, and the value."""
        return rotate(query, self.angles), rotate(key, self.angles), value


def interleaved_to_half_split(head_dim: int) -> Int[Tensor, "head_dim"]:
    """The order 0, 2, 4, …, 1, 3, 5, …: from one layout to the other.

    rotate(x[..., order], angles) = rotate_interleaved(x, angles)[..., order]
    """
    index = torch.arange(head_dim)
    return rearrange(index, "(half two) -> (two half)", two=2)


def decay_bound(
    lags: Int[Tensor, "lags"], frequencies: Float[Tensor, "half"]
) -> Float[Tensor, "lags"]:
    """Mean over i of |Σ_{j<i} e^(i·lag·θ_j)|: Su et al. 2021, §3.4.3."""
    turn = angles_at(lags, frequencies, torch.float64)
    return torch.polar(torch.ones_like(turn), turn).cumsum(-1).abs().mean(-1)


def check_factor(factor: float) -> None:
    """Raise `ValueError` unless the context is stretched, not shrunk."""
    if not factor >= 1:
        raise ValueError(f"factor: got {factor}, expected at least 1")


def position_interpolation(
    head_dim: int, factor: float, base: float = 10000.0
) -> Float[Tensor, "half"]:
    """θ_i/s: squeeze all positions into the range seen in training.

    Source: Chen et al. 2023.
    """
    check_even("head_dim", head_dim)
    check_factor(factor)
    return frequencies(head_dim, base) / factor


def ntk(
    head_dim: int, factor: float, base: float = 10000.0
) -> Float[Tensor, "half"]:
    """θ_i·s^(-i/(d/2-1)): a larger base, base·s^(d/(d-2)).

    The fastest pair keeps its frequency, the slowest is interpolated.

    Raises `ValueError` if head_dim is below 4.

    Source: Peng et al. 2023, §3.1.
    """
    check_even("head_dim", head_dim)
    check_factor(factor)
    if head_dim < 4:
        raise ValueError(f"head_dim: got {head_dim}, expected at least 4")
    stretched = base * factor ** (head_dim / (head_dim - 2))
    return frequencies(head_dim, stretched)


def yarn_mix(
    head_dim: int, trained_length: int, base: float, fast: float, slow: float
) -> Float[Tensor, "half"]:
    """How much of each pair YaRN interpolates: 0 if fast, 1 if slow.

    Between, it rises linearly with the pair's index, as in the authors' code.

    Source: Peng et al. 2023.
    """

    def index_at(turns):
        ratio = trained_length / (2 * math.pi * turns)
        return head_dim * math.log(ratio) / (2 * math.log(base))

    low = max(math.floor(index_at(fast)), 0)
    high = min(math.ceil(index_at(slow)), head_dim - 1)
    index = torch.arange(head_dim // 2, dtype=torch.float64)
    return ((index - low) / max(high - low, 1e-3)).clamp(0, 1)


def yarn(
    head_dim: int,
    factor: float,
    trained_length: int,
    base: float = 10000.0,
    *,
    fast: float = 32.0,
    slow: float = 1.0,
) -> Float[Tensor, "half"]:
    """Keep the fast pairs, interpolate the slow ones, mix between.

    A pair is fast that turns more than `fast` times in `trained_length`
    positions, slow that turns less than `slow` times. Use with `yarn_scale`.

    Raises `ValueError` naming the argument that is out of range.

    Source: Peng et al. 2023, §3.2.
    """
    check_even("head_dim", head_dim)
    check_factor(factor)
    check_sizes(trained_length=trained_length)
    if not 0 < slow < fast:
        raise ValueError(f"slow: got {slow}, expected 0 < slow < {fast}")
    theta = frequencies(head_dim, base)
    mix = yarn_mix(head_dim, trained_length, base, fast, slow)
    return theta * (1 - mix) + theta / factor * mix


def yarn_scale(factor: float) -> float:
    """0.1·ln s + 1: YaRN multiplies queries and keys by it.

    Source: Peng et al. 2023, §3.4.
    """
    check_factor(factor)
    return 0.1 * math.log(factor) + 1


def llama3(
    head_dim: int,
    factor: float,
    trained_length: int,
    base: float = 500000.0,
    *,
    slow: float = 1.0,
    fast: float = 4.0,
) -> Float[Tensor, "half"]:
    """Llama 3.1's own rule: as YaRN's, but mixed by turns, not by pairs.

    A pair that turns more than `fast` times in `trained_length` positions
    keeps its speed, one that turns less than `slow` times is slowed by
    `factor`. In a config.json these are `high_freq_factor`,
    `original_max_position_embeddings` and `low_freq_factor`.

    Raises `ValueError` naming the argument that is out of range.

    Source: Grattafiori et al. 2024; Hugging Face's `rope_type` "llama3".
    """
    check_even("head_dim", head_dim)
    check_factor(factor)
    check_sizes(trained_length=trained_length)
    if not 0 < slow < fast:
        raise ValueError(f"slow: got {slow}, expected 0 < slow < {fast}")
    theta = frequencies(head_dim, base)
    turns = trained_length * theta / (2 * math.pi)
    keep = ((turns - slow) / (fast - slow)).clamp(0, 1)
    return theta * keep + theta / factor * (1 - keep)
