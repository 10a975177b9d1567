"""Positions: how attention, which is blind to order, is told about it.

    length, d_model = n, d
    position        = pos (counted from 0)
    encoding        = PE (one row per position)
    frequencies     = ω_i = base^(-2i/d), i = 0 … d/2-1 (radians per position)
    lag             = position of the query - position of the key
    slope           = m (of ALiBi: what one position of distance costs)
    buckets         = relative positions that share one learned number

Sources
- Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762, §3.5.
- Gehring et al. 2017, "Convolutional Sequence to Sequence Learning", arXiv
  1705.03122, §3.1 (learned positions).
- Raffel et al. 2019, "Exploring the Limits of Transfer Learning" (T5),
  arXiv 1910.10683, §2.1 (relative positions in buckets).
- Press, Smith and Lewis 2021, "Train Short, Test Long" (ALiBi), arXiv
  2108.12409, §3.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked


def check_even(name: str, width: int) -> None:
    """Raise `ValueError` unless dimensions can be paired."""
    if width < 2 or width % 2:
        raise ValueError(f"{name}: got {width}, expected an even number")


def frequencies(width: int, base: float = 10000.0) -> Float[Tensor, "half"]:
    """base^(-2i/width) for i = 0 … width/2-1, in float64.

    Raises `ValueError` if width is not even or base not above 1.

    Source: Vaswani et al. 2017.
    """
    check_even("width", width)
    if not base > 1:
        raise ValueError(f"base: got {base}, expected a number above 1")
    exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
    return base**-exponents


def wavelengths(width: int, base: float = 10000.0) -> Float[Tensor, "half"]:
    """Positions after which each pair is back where it began: 2π/ω_i."""
    return 2 * math.pi / frequencies(width, base)


def sinusoidal(
    length: int,
    d_model: int,
    *,
    start: int = 0,
    base: float = 10000.0,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "length d_model"]:
    """PE(pos, 2i) = sin(ω_i·pos), PE(pos, 2i+1) = cos(ω_i·pos).

    Row 0 is position `start`. Computed in float64, returned in `dtype`.

    Raises `ValueError` if d_model is not even.

    Source: Vaswani et al. 2017.
    """
    check_even("d_model", d_model)
    position = torch.arange(start, start + length, dtype=torch.float64)
    angle = position[:, None] * frequencies(d_model, base)
    pairs = torch.stack([angle.sin(), angle.cos()], dim=-1)
    return pairs.flatten(-2).to(dtype)


def shift_matrix(
    lag: int, d_model: int, base: float = 10000.0
) -> Float[Tensor, "d_model d_model"]:
    """The rotation R with PE(pos + lag) = PE(pos) R, whatever pos is.

    One 2 × 2 block per pair, (s, c) → (s·cos + c·sin, c·cos - s·sin).
    """
    check_even("d_model", d_model)
    angle = lag * frequencies(d_model, base)
    cos, sin = angle.cos(), angle.sin()
    blocks = torch.stack([cos, -sin, sin, cos], -1).view(-1, 2, 2)
    return torch.block_diag(*blocks)


@checked
def add_positions(
    x: Float[Tensor, "... length d_model"],
    encoding: Float[Tensor, "... length d_model"],
) -> Float[Tensor, "... length d_model"]:
    """x·√d_model + PE: once, on the embedded input, never in a layer.

    The root makes embeddings of unit norm as long as the positions, whose
    norm is √(d_model/2). Texts that stand at positions of their own have an
    encoding each.

    Raises `ValueError` unless the encoding is x's or that of one text.

    Source: Vaswani et al. 2017.
    """
    if encoding.shape not in (x.shape, x.shape[-2:]):
        raise ValueError(
            f"encoding: got shape {tuple(encoding.shape)}, expected "
            f"{tuple(x.shape[-2:])} or x's {tuple(x.shape)}"
        )
    return x * math.sqrt(x.shape[-1]) + encoding


def count_positions(
    real: Bool[Tensor, "batch length"],
) -> Int[Tensor, "batch length"]:
    """Position of every token, counted from the first that is no padding.

    Padding stands in front, where texts go on to be written; its own
    position is 0 and means nothing.
    """
    return (real.cumsum(-1) - 1).clamp(min=0)


class LearnedPositions(nn.Module):
    """A table of `length` learned vectors, one added at each position.

    Raises `ValueError` for a position that the table does not have, or a
    width that is not the table's.

    Source: Gehring et al. 2017.
    """

    def __init__(self, length: int, d_model: int):
        super().__init__()
        self.table = nn.Embedding(length, d_model)
        nn.init.normal_(self.table.weight, std=0.02)  # Hugging Face's GPT-2

    @checked
    def forward(
        self, x: Float[Tensor, "... length d_model"], start: int = 0
    ) -> Float[Tensor, "... length d_model"]:
        """Add positions start, start + 1, … to the embedded input x."""
        check_sizes(0, start=start)  # -1 would be the last row
        known, width = self.table.weight.shape
        if x.shape[-1] != width:
            raise ValueError(
                f"x: got d_model {x.shape[-1]}, expected the table's {width}"
            )
        stop = start + x.shape[-2]
        if stop > known:
            raise ValueError(
                f"x: got positions {start} to {stop - 1}, expected at most "
                f"{known - 1}: the table has {known} rows"
            )
        return x + self.table.weight[start:stop]


def lags(
    query: int, key: int, device: torch.device | None = None
) -> Int[Tensor, "query key"]:
    """Position of the query minus position of the key; the future is < 0.

    The last query stands at the last key, as it does with a cache.

    Raises `ValueError` for more queries than keys.
    """
    if query > key:
        raise ValueError(f"query: got {query}, expected at most key = {key}")
    keys = torch.arange(key, device=device)
    return keys[key - query :, None] - keys


def lag_buckets(
    lag: Int[Tensor, "*shape"], buckets: int = 32, max_lag: int = 128
) -> Int[Tensor, "*shape"]:
    """Bucket of a lag: the near past exactly, the far past by its logarithm.

    Half of the buckets hold one lag each; the others grow until `max_lag`,
    and the last holds all beyond. The future falls into bucket 0 (Raffel et
    al. 2019).

    Raises `ValueError` unless 2 ≤ buckets and buckets/2 < max_lag.
    """
    exact = buckets // 2
    if exact < 1 or max_lag <= exact:
        raise ValueError(
            f"buckets: got {buckets} with max_lag {max_lag}, expected at "
            f"least 2 and fewer than twice max_lag"
        )
    lag = lag.clamp(min=0)
    ratio = (lag.clamp(min=1).float() / exact).log()  # float32, as T5
    growing = ratio / math.log(max_lag / exact) * (buckets - exact)
    far = (exact + growing.long()).clamp(max=buckets - 1)
    return torch.where(lag < exact, lag, far)


def two_sided_buckets(
    lag: Int[Tensor, "*shape"], buckets: int = 32, max_lag: int = 128
) -> Int[Tensor, "*shape"]:
    """Half of the buckets for the past, half for the future.

    Source: Raffel et al. 2019.
    """
    future = (lag < 0).long() * (buckets // 2)
    return future + lag_buckets(lag.abs(), buckets // 2, max_lag)


class RelativeBias(nn.Module):
    """One learned number per head and bucket, added to the scores.

    For a decoder: the buckets cover the past. Returns (heads, query, key),
    a float mask for `attention`.

    Source: Raffel et al. 2019.
    """

    def __init__(self, heads: int, buckets: int = 32, max_lag: int = 128):
        super().__init__()
        self.buckets, self.max_lag = buckets, max_lag
        self.bias = nn.Embedding(buckets, heads)

    def forward(
        self, query: int, key: int
    ) -> Float[Tensor, "heads query key"]:
        """Bias of the last `query` positions on all `key` positions."""
        lag = lags(query, key, self.bias.weight.device)
        bucket = lag_buckets(lag, self.buckets, self.max_lag)
        return self.bias(bucket).movedim(-1, 0)


def alibi_slopes(heads: int) -> Float[Tensor, "heads"]:
    """2^(-8/n), 2^(-16/n), … for n heads, n a power of two.

    For any other n: those of the next smaller power, then every other one
    of the next larger.

    Raises `ValueError` if heads is below 1.

    Source: Press et al. 2021.
    """
    check_sizes(heads=heads)
    power = 2 ** int(math.log2(heads))

    def geometric(n):
        return 2 ** (-8 * torch.arange(1, n + 1, dtype=torch.float64) / n)

    more = geometric(2 * power)[::2][: heads - power]
    return torch.cat([geometric(power), more]).float()


def alibi_bias(
    heads: int, query: int, key: int | None = None
) -> Float[Tensor, "heads query key"]:
    """-slope·|lag|: a float mask that nothing has to learn.

    `key` defaults to `query`; otherwise the last query stands at the last
    key. It does not hide the future: pass `causal=True` as well.

    Source: Press et al. 2021.
    """
    lag = lags(query, query if key is None else key)
    return -alibi_slopes(heads)[:, None, None] * lag.abs()
