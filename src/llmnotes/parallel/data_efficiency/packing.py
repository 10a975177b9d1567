"""Documents in rows of one length, and who may see whom in a row.

    block    = L, tokens in a row
    piece    = (document, start, stop): what of a document lies in a row
    segments = number of the piece that each token belongs to, 0 for padding
    places   = positions; they begin anew with each piece
    targets  = the next token of the same piece, else -100

Sources
- Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination",
  arXiv 2107.02027, §3.2 (masks and positions).
- Ding et al. 2024, "Fewer Truncations Improve Language Modeling", arXiv
  2404.10830, §3 (best-fit packing).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llmnotes.checks import check_length, check_sizes
from llmnotes.task import IGNORED
from llmnotes.transformer.attention import block_diagonal_mask, causal_mask
from llmnotes.transformer.gpt import GPT


class Piece(NamedTuple):
    """Tokens start to stop of a document."""

    document: int
    start: int
    stop: int


class Packed(NamedTuple):
    """Rows of tokens, and what is known of each token."""

    ids: Int[Tensor, "rows block"]
    targets: Int[Tensor, "rows block"]
    segments: Int[Tensor, "rows block"]
    places: Int[Tensor, "rows block"]


def pieces(sizes: Sequence[int], block: int) -> list[Piece]:
    """Documents as pieces of at most `block` tokens, the full ones first."""
    check_sizes(block=block)
    return [
        Piece(document, start, min(start + block, size))
        for document, size in enumerate(sizes)
        for start in range(0, size, block)
    ]


def cut(sizes: Sequence[int], block: int) -> list[list[Piece]]:
    """Rows of documents written one after another and cut every L tokens."""
    check_sizes(block=block)
    rows, room = [[]], block
    for document, size in enumerate(sizes):
        start = 0
        while start < size:
            if not room:
                rows.append([])
                room = block
            stop = min(size, start + room)
            rows[-1].append(Piece(document, start, stop))
            room -= stop - start
            start = stop
    return rows


def best_fit(sizes: Sequence[int], block: int) -> list[list[Piece]]:
    """Rows of pieces, the longest first, each where it fits most tightly.

    Nothing is dropped, and only what is longer than a row is cut.

    Source: Ding et al. 2024, §3.
    """
    rows: list[list[Piece]] = []
    with_room = [[] for _ in range(block + 1)]  # numbers of rows
    queue = sorted(
        pieces(sizes, block), key=lambda p: p.stop - p.start, reverse=True
    )
    for piece in queue:
        size = piece.stop - piece.start
        room = next((r for r in range(size, block) if with_room[r]), block)
        if room == block:
            rows.append([])
            with_room[block].append(len(rows) - 1)
        row = with_room[room].pop()
        rows[row].append(piece)
        with_room[room - size].append(row)
    return rows


def filled(rows: Sequence[Sequence[Piece]], block: int) -> float:
    """The share of all places that hold a token; of no rows, none is known.

    Raises `ValueError` there.
    """
    check_sizes(block=block, rows=len(rows))
    used = sum(p.stop - p.start for row in rows for p in row)
    return used / (block * len(rows))


def share_cut(rows: Sequence[Sequence[Piece]], documents: int) -> float:
    """The share of documents that lie in more than one piece."""
    count = torch.zeros(documents)
    for row in rows:
        for piece in row:
            count[piece.document] += 1
    return float((count > 1).double().mean())


def chance_cut(size: int, block: int) -> float:
    """That a document is cut which begins anywhere in a row: (ℓ-1)/L.

    Certain for a document that is longer than a row.
    """
    check_sizes(size=size, block=block)
    return min(1.0, (size - 1) / block)


def packed(
    documents: Sequence[Int[Tensor, "..."]],
    rows: Sequence[Sequence[Piece]],
    block: int,
    pad: int = 0,
) -> Packed:
    """The rows as tensors. Raises `ValueError` for a row that is too long."""
    ids = torch.full((len(rows), block), pad)
    segments, places = torch.zeros_like(ids), torch.zeros_like(ids)
    for r, row in enumerate(rows):
        size = sum(p.stop - p.start for p in row)
        if size > block:
            raise ValueError(
                f"rows: got {size} tokens in row {r}, expected at most "
                f"block = {block}"
            )
        at = 0
        for number, (document, start, stop) in enumerate(row, 1):
            here = slice(at, at + stop - start)
            ids[r, here] = documents[document][start:stop]
            segments[r, here] = number
            places[r, here] = torch.arange(stop - start)
            at = here.stop
    return Packed(ids, next_tokens(ids, segments), segments, places)


def next_tokens(
    ids: Int[Tensor, "rows block"], segments: Int[Tensor, "rows block"]
) -> Int[Tensor, "rows block"]:
    """Targets: the first token of a piece is nobody's, nor is padding.

    It is the place before a start that has no target. The last token of a
    document, which says that it ends, stays one.
    """
    targets = torch.full_like(ids, IGNORED)
    within = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    targets[:, :-1] = torch.where(within, ids[:, 1:], IGNORED)
    return targets


def visible(
    segments: Int[Tensor, "rows block"],
) -> Bool[Tensor, "rows 1 block block"]:
    """Each token sees its own piece, up to itself."""
    block = segments.shape[1]
    causal = causal_mask(block, block, segments.device)
    return block_diagonal_mask(segments) & causal


def logits(
    model: GPT,
    ids: Int[Tensor, "rows block"],
    places: Int[Tensor, "rows block"],
    visible: Bool[Tensor, "rows 1 block block"] | None,
) -> Float[Tensor, "rows block vocab"]:
    """What a GPT says of rows: who stands where, and who sees whom.

    Without `visible`, a token sees all of its row up to itself.
    """
    check_length("n_positions", model.n_positions, ids=ids)
    body = model.transformer
    x = body.drop(body.wte(ids) + body.wpe(places))
    for layer in body.h:
        x = layer(x, visible)
    return F.linear(body.ln_f(x), body.wte.weight)
