r"""Bytes of activations that a layer keeps: by formula, row by row.

    batch, length  = b, s        hidden, heads = h, a
    ranks          = t, among which tensor parallelism cuts a layer
    row            = one thing that is kept until backward
    core           = what grows with s²: softmax(QKᵀ), and its dropout
    width          = bytes of a number and of an entry of a dropout mask

The paper counts 16-bit numbers and masks of one byte, and leaves out the
statistics of the norms: sbh(34 + 5as/h). PyTorch on a CPU in float32 has 4
bytes for each, masks included: sbh(72 + 12as/h + 16/h), and without dropout
sbh(64 + 4as/h + 16/h).

Sources
- Korthikanti et al. 2022, "Reducing Activation Recomputation in Large
  Transformer Models", arXiv 2205.05198, §4 and table 2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from llmnotes.checks import check_divides, check_sizes


@dataclass(frozen=True)
class Row:
    """What one operation of a layer keeps, and how it is cut."""

    what: str
    numbers: int = 0  # times sbh; in the core times as²b
    masks: int = 0  # likewise
    core: bool = False
    cut: bool = True  # tensor parallelism shares it out
    dropout: bool = False  # there with dropout only
    norm: bool = False  # keeps mean and deviation of each token as well


ROWS = (
    Row("input of the first norm", 1, cut=False, norm=True),
    Row("input of the product for Q, K and V", 1, cut=False),
    Row("Q, K and V", 3),
    Row("output of the softmax", 1, core=True),
    Row("its dropout: mask and output", 1, 1, core=True, dropout=True),
    Row("input of the projection", 1),
    Row("mask of the dropout behind it", 0, 1, cut=False, dropout=True),
    Row("input of the second norm", 1, cut=False, norm=True),
    Row("input of the MLP", 1, cut=False),
    Row("input of GELU", 4),
    Row("output of GELU", 4),
    Row("mask of the last dropout", 0, 1, cut=False, dropout=True),
)


@dataclass(frozen=True)
class Width:
    """Bytes of a number, of a mask's entry, of a norm's mean or deviation."""

    number: int
    mask: int
    statistic: int


PAPER = Width(2, 1, 0)
FLOAT32_ON_CPU = Width(4, 4, 4)


def everything(row: Row) -> bool:
    """Keep all: nothing is recomputed."""
    return True


def selective(row: Row) -> bool:
    """Keep all but the core of attention, which is recomputed."""
    return not row.core


def full(row: Row) -> bool:
    """Keep the layer's input only."""
    return row is ROWS[0]


def tensor(row: Row, ranks: int) -> Fraction:
    """A rank's share with tensor parallelism: norms and dropout are whole."""
    return Fraction(1, ranks if row.cut else 1)


def sequence(row: Row, ranks: int) -> Fraction:
    """A rank's share with sequence parallelism as well: all is cut."""
    return Fraction(1, ranks)


def activations(
    batch: int,
    length: int,
    hidden: int,
    heads: int,
    ranks: int = 1,
    *,
    keep: Callable[[Row], bool] = everything,
    share: Callable[[Row, int], Fraction] = tensor,
    width: Width = PAPER,
    dropout: float = 0.1,
) -> float:
    """Bytes that one layer keeps on one rank.

    `keep` is everything, selective or full; `share` is tensor or sequence.
    A layer that is recomputed whole keeps its input, 2sbh in the paper's
    widths, and no statistics.

    Raises `ValueError` for sizes that are no positive integers, for heads
    that do not divide hidden, and for ranks that do not divide heads.

    Source: Korthikanti et al. 2022, equations 1 to 4 and 6, and table 2.
    """
    check_sizes(batch=batch, length=length, hidden=hidden, heads=heads)
    check_sizes(ranks=ranks)
    check_divides("hidden", hidden, heads=heads)
    check_divides("heads", heads, ranks=ranks)
    size = batch, length, hidden, heads
    total = sum(
        share(row, ranks) * row_bytes(row, *size, width, keep is not full)
        for row in ROWS
        if keep(row) and (dropout or not row.dropout)
    )
    return float(total)


def row_bytes(
    row: Row, batch: int, length: int, hidden: int, heads: int,
    width: Width, statistics: bool = True,
) -> int:  # fmt: skip
    """Bytes of one row, uncut."""
    tokens = batch * length
    unit = heads * length * tokens if row.core else tokens * hidden
    each = row.numbers * width.number + row.masks * width.mask
    norms = 2 * tokens * width.statistic if row.norm and statistics else 0
    return unit * each + norms


def per_sbh(length: int, hidden: int, heads: int, **how) -> float:
    """The same in units of sbh: 34 + 5as/h for the paper's layer."""
    return activations(1, length, hidden, heads, **how) / (length * hidden)
