"""Decoding: from a model that rates the next token to a whole sequence.

    model.encode(source, source_lengths) = memory  (anything)
    model.decode(target, memory)         = logits (batch, query, vocab)
    beam                                 = hypotheses kept per source
    alpha                                = α (length normalisation)
    score                                = log p(y | x) / |y|^α

Any encoder-decoder with these two methods fits, recurrent or not: `decode`
is shown START and what has been written, and its last position rates what
comes next.

Sources
- Sutskever, Vinyals & Le 2014, arXiv 1409.3215, §3.2 (beam search).
- Wu et al. 2016, "Google's Neural Machine Translation System",
  arXiv 1609.08144, §7 (length normalisation; ours is its limit for long
  sequences, without the constant 5).
"""

import functools
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes
from llmnotes.lengths import Lengths, read_lengths
from llmnotes.modes import evaluating
from llmnotes.sequence.seq2seq.pairs import END, PAD, START


def inference(function):
    """Run `function(model, source, ...)` without dropout and gradients."""

    @functools.wraps(function)
    def wrapper(model, *args, **kwargs):
        with evaluating(model):
            return function(model, *args, **kwargs)

    return wrapper


def next_scores(
    model: nn.Module, target: Int[Tensor, "rows query"], memory
) -> Float[Tensor, "rows vocab"]:
    """Log-probabilities of the next token; PAD and START are never written.

    Raises `ValueError` for logits that are no ranking: NaN, +inf, all -inf.
    """
    logits = model.decode(target, memory)[:, -1]
    if not logits.amax(-1).isfinite().all():  # NaN is the largest of all
        raise ValueError(
            f"model: got {logits.amax().item()} as its largest logit, "
            "expected a finite one in every row"
        )
    scores = logits.log_softmax(-1)
    never = torch.tensor([PAD, START], device=target.device)
    return scores.index_fill(1, never, -torch.inf)


@inference
def greedy(
    model: nn.Module,
    source: Int[Tensor, "batch key"],
    source_lengths: Lengths | None = None,
    *,
    max_length: int,
) -> Int[Tensor, "batch length"]:
    """Write the likeliest token, read it, go on until END.

    Rows end with END, then PAD, or without END after `max_length` tokens.
    START is not part of them.
    """
    check_sizes(max_length=max_length)
    memory = model.encode(source, source_lengths)
    target = source.new_full((len(source), 1), START)
    done = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    for _ in range(max_length):
        token = next_scores(model, target, memory).argmax(-1)
        token = token.masked_fill(done, PAD)
        target = torch.cat([target, token[:, None]], dim=1)
        done |= token == END
        if done.all():
            break
    return target[:, 1:]


class Hypotheses(NamedTuple):
    """What a beam search found: rows of tokens per source, best first."""

    tokens: Int[Tensor, "batch beam length"]
    scores: Float[Tensor, "batch beam"]


class Beam(NamedTuple):
    """Hypotheses on their way; `total` is the sum of log-probabilities."""

    target: Int[Tensor, "batch beam query"]
    total: Float[Tensor, "batch beam"]
    length: Int[Tensor, "batch beam"]
    done: Tensor


def first_beam(source: Tensor, beam: int) -> Beam:
    """Only START. All rows begin alike, so only the first may count."""
    length = source.new_zeros(len(source), beam)
    total = length.double().fill_(-torch.inf)
    total[:, 0] = 0
    start = length[..., None] + START
    return Beam(start, total, length, length.bool())


def extend(
    beams: Beam, scores: Float[Tensor, "batch beam vocab"], alpha: float
) -> Beam:
    """Try every token after every hypothesis and keep the best of all.

    One that has ended stays as it is: it goes on with PAD, at no cost.
    """
    vocab, beam = scores.shape[-1], beams.total.shape[1]
    scores = scores.masked_fill(beams.done[..., None], -torch.inf)
    scores[..., PAD].masked_fill_(beams.done, 0)
    total = (beams.total[..., None] + scores).flatten(1)
    length = beams.length + ~beams.done
    norm = length.double().pow(alpha).repeat_interleave(vocab, 1)
    best = (total / norm).topk(beam).indices
    parent, token = best // vocab, best % vocab
    target = beams.target.gather(
        1, parent[..., None].expand(-1, -1, beams.target.shape[-1])
    )
    return Beam(
        torch.cat([target, token[..., None]], -1),
        total.gather(1, best),
        length.gather(1, parent),
        beams.done.gather(1, parent) | (token == END),
    )


@inference
def beam_search(
    model: nn.Module,
    source: Int[Tensor, "batch key"],
    source_lengths: Lengths | None = None,
    *,
    beam: int,
    max_length: int,
    alpha: float = 0.0,
) -> Hypotheses:
    """Keep the `beam` best beginnings instead of one (Sutskever et al. 2014).

    Best means the highest log p / length^alpha (Wu et al. 2016), END counted.
    With fewer sequences than `beam` the rows left over have a score of -inf.
    """
    check_sizes(beam=beam, max_length=max_length)
    if alpha < 0:
        raise ValueError(f"alpha: got {alpha}, expected at least 0")
    rows = source.repeat_interleave(beam, 0)
    if source_lengths is not None:
        lengths = read_lengths(source=source, source_lengths=source_lengths)
        source_lengths = lengths.repeat_interleave(beam, 0)
    memory = model.encode(rows, source_lengths)
    beams = first_beam(source, beam)
    for _ in range(max_length):
        scores = next_scores(model, beams.target.flatten(0, 1), memory)
        scores = scores.unflatten(0, beams.total.shape)
        beams = extend(beams, scores.double(), alpha)
        if beams.done.all():
            break
    norm = beams.length.double().pow(alpha)
    return Hypotheses(beams.target[..., 1:], beams.total / norm)


def exact_match(
    written: Int[Tensor, "batch length"],
    target_out: Int[Tensor, "batch query"],
) -> float:
    """Share of rows that are right to the last token."""
    width = max(written.shape[1], target_out.shape[1])
    a, b = (
        nn.functional.pad(x, (0, width - x.shape[1]), value=PAD)
        for x in (written, target_out)
    )
    return (a == b).all(1).double().mean().item()
