"""h_t = keep_t ∘ h_{t-1} + add_t, in four orders of the same work.

    loop     one step after the other
    rounds   all at once, log₂ L times: reach doubles (Hillis & Steele)
    chunked  rounds inside of each chunk, a loop from chunk to chunk
    products inside of a chunk one product with a matrix of decays, which
             are taken as logarithms (log_keep)
    first    = where a new sequence begins, in a row that holds several

Two steps in a row are a step again (`combine`), whatever stands between the
brackets: that is all that any of them uses. keep and add may be complex.

Sources
- Blelloch 1990, "Prefix Sums and Their Applications", CMU-CS-90-190, §1.4
  (recurrences as scans).
- Hillis & Steele 1986, "Data Parallel Algorithms", CACM 29(12).
- Smith, Warrington & Linderman 2022, "Simplified State Space Layers for
  Sequence Modeling" (S5), arXiv 2208.04933, §2.4.
- Dao & Gu 2024, "Transformers are SSMs", arXiv 2405.21060, §6 (chunks, and
  decays as differences of sums).
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Inexact
from torch import Tensor

from llmnotes.checks import check_divides, checked
from llmnotes.models.s4.space import check_fine

Step = tuple[Tensor | float, Tensor | float]  # keep, add


def combine(earlier: Step, later: Step) -> Step:
    """Two stretches as one: keep both, and keep what the first has added."""
    (keep, add), (keep_later, add_later) = earlier, later
    return keep_later * keep, keep_later * add + add_later


@checked
def loop(
    keep: Inexact[Tensor, "batch length width"],
    add: Inexact[Tensor, "batch length width"],
) -> Inexact[Tensor, "batch length width"]:
    """One step after the other, from a state of zeros.

    Raises `ValueError` for tensors that do not fit, and for 16 bits.
    """
    check_fine(keep=keep, add=add)
    h, out = torch.zeros_like(add[:, 0]), []
    for keep_t, add_t in zip(keep.unbind(1), add.unbind(1), strict=True):
        h = keep_t * h + add_t
        out.append(h)
    return torch.stack(out, 1)


@checked
def rounds(
    keep: Inexact[Tensor, "batch length width"],
    add: Inexact[Tensor, "batch length width"],
) -> Inexact[Tensor, "batch length width"]:
    """All places at once, in ⌈log₂ L⌉ rounds; errors as in `loop`."""
    check_fine(keep=keep, add=add)
    return prefixes(keep, add)[1]


def prefixes(keep: Tensor, add: Tensor) -> Step:
    """Every prefix as one step, along the axis before the last.

    After round k each place has combined the 2^k steps that end in it;
    places in front of the first step keep all and add nothing.
    """
    reach, length = 1, keep.shape[-2]
    while reach < length:
        front = (0, 0, reach, 0)
        earlier = (
            F.pad(keep, front, value=1.0)[..., :length, :],
            F.pad(add, front)[..., :length, :],
        )
        keep, add = combine(earlier, (keep, add))
        reach *= 2
    return keep, add


def cut(x: Tensor, chunk: int) -> Tensor:
    """Cut the length into chunks; `ValueError` if some would be left."""
    check_divides("length", x.shape[1], chunk=chunk)
    return rearrange(
        x, "batch (chunks inner) width -> batch chunks inner width",
        inner=chunk,
    )  # fmt: skip


def carried(keep: Tensor, add: Tensor) -> Tensor:
    """The state in front of each chunk, from what each keeps and adds."""
    h, before = torch.zeros_like(add[:, 0]), []
    for keep_c, add_c in zip(keep.unbind(1), add.unbind(1), strict=True):
        before.append(h)
        h = keep_c * h + add_c
    return torch.stack(before, 1)


@checked
def chunked(
    keep: Inexact[Tensor, "batch length width"],
    add: Inexact[Tensor, "batch length width"],
    chunk: int,
) -> Inexact[Tensor, "batch length width"]:
    """Rounds inside of all chunks at once, then a loop over chunks.

    Raises `ValueError` for a chunk that does not divide the length, and as
    `loop` does.
    """
    check_fine(keep=keep, add=add)
    keep, add = prefixes(cut(keep, chunk), cut(add, chunk))
    h = carried(keep[:, :, -1], add[:, :, -1])
    return (add + keep * h[:, :, None]).flatten(1, 2)


def decays(
    log_keep: Inexact[Tensor, "*shape inner width"],
) -> Inexact[Tensor, "*shape inner inner width"]:
    """How much of an input at s (column) is left at t (row): e^{Σ_{s+1..t}}.

    As a difference of running sums, so no number above 1 is ever formed.
    What lies above the diagonal is put to -∞ *before* the exponential: it
    would be a growth, and 0 · ∞ is no number. A log_keep of -∞ forgets all
    at t; sums leave it out, and no pair across it is kept.
    """
    forgets = log_keep.real.isneginf()
    total = log_keep.masked_fill(forgets, 0).cumsum(-2)
    since = forgets.long().cumsum(-2)
    same = since[..., :, None, :] == since[..., None, :, :]
    places = torch.arange(log_keep.shape[-2], device=log_keep.device)
    past = (places[:, None] >= places)[..., None]
    between = total[..., :, None, :] - total[..., None, :, :]
    return between.masked_fill(~(same & past), -math.inf).exp()


@checked
def products(
    log_keep: Inexact[Tensor, "batch length width"],
    add: Inexact[Tensor, "batch length width"],
    chunk: int,
) -> Inexact[Tensor, "batch length width"]:
    """One matrix of decays for each chunk; errors as in `chunked`."""
    check_fine(log_keep=log_keep, add=add)
    log_keep, add = cut(log_keep, chunk), cut(add, chunk)
    inside = torch.einsum("bktsw,bksw->bktw", decays(log_keep), add)
    keep = log_keep.cumsum(2).exp()  # what is left of what came in
    h = carried(keep[:, :, -1], inside[:, :, -1])
    return (inside + keep * h[:, :, None]).flatten(1, 2)


@checked
def restarted(
    keep: Inexact[Tensor, "batch length width"],
    first: Bool[Tensor, "batch length"],
) -> Inexact[Tensor, "batch length width"]:
    """Keep nothing where a sequence begins: several share a row."""
    return keep.masked_fill(first[..., None], 0)
