"""Pictures as rows of tokens, and back.

patch   = p, side of a square of pixels that becomes one token
patches = rows/p · columns/p tokens, row after row
pixels  = channels · p · p numbers of one token: channel, row, column

Sources
- Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words", arXiv 2010.11929,
  eq. 1.
- Peebles & Xie 2023, "DiT", arXiv 2212.09748, §3.2 (figure 4: the smaller
  the patch, the more tokens).
"""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import check_divides


def patchify(
    x: Float[Tensor, "batch channels rows columns"], patch: int
) -> Float[Tensor, "batch patches pixels"]:
    """Cut pictures into squares, row after row.

    Raises `ValueError` for sides that patches do not fill.
    """
    check_sides(x, patch)
    return rearrange(
        x, "b c (rows p) (columns q) -> b (rows columns) (c p q)",
        p=patch, q=patch,
    )  # fmt: skip


def unpatchify(
    tokens: Float[Tensor, "batch patches pixels"], patch: int, rows: int
) -> Float[Tensor, "batch channels rows columns"]:
    """Put squares together again, `rows` pixels high: undoes `patchify`."""
    return rearrange(
        tokens, "b (rows columns) (c p q) -> b c (rows p) (columns q)",
        p=patch, q=patch, rows=rows // patch,
    )  # fmt: skip


def check_sides(x: Tensor, patch: int) -> None:
    """Raise `ValueError` unless patches fill a picture's sides."""
    for name, side in zip(("rows", "columns"), x.shape[-2:], strict=True):
        check_divides(name, side, patch=patch)
