"""The tree that a beam search walks through, on the page's small table."""

import math

import torch
from torch import nn

from llmnotes.sequence.seq2seq.decoding import (
    Beam,
    extend,
    first_beam,
    next_scores,
)
from llmnotes.sequence.seq2seq.pairs import END

BEAM, STEPS = 2, 3
A, B = 3, 4
LETTERS = {A: "A", B: "B", END: "end"}
TABLE = {
    (): {A: 0.6, B: 0.4},
    (A,): {A: 0.5, B: 0.5},
    (B,): {A: 0.1, B: 0.9},
}


class Table(nn.Module):
    """Chances of the next token, looked up; after two tokens, the end."""

    def encode(self, source, source_lengths):
        return None

    def decode(self, target, memory):
        shape = len(target), 1, 5
        logits = torch.full(shape, -torch.inf, dtype=torch.float64)
        for row, tokens in enumerate(target[:, 1:].tolist()):
            chances = TABLE.get(tuple(tokens), {END: 1.0})
            for token, chance in chances.items():
                logits[row, 0, token] = math.log(chance)
        return logits


def words(tokens):
    """The letters of a hypothesis; END stands at its end only."""
    return " ".join(LETTERS[t] for t in tokens if t in LETTERS)


def tried(beams: Beam, scores):
    """Every hypothesis that this step looks at, with its chance."""
    for row, total in enumerate(beams.total[0].tolist()):
        before = beams.target[0, row, 1:].tolist()
        for token, score in enumerate(scores[0, row].tolist()):
            if total > -math.inf and score > -math.inf:
                yield words(before), words([*before, token]), total + score


def bench_a_beam_of_two(record):
    model, beams = Table(), first_beam(torch.tensor([[A]]), BEAM)
    rows = []
    for step in range(1, STEPS + 1):
        scores = next_scores(model, beams.target.flatten(0, 1), None)
        scores = scores.unflatten(0, beams.total.shape)
        candidates = list(tried(beams, scores))
        beams = extend(beams, scores, alpha=0.0)
        kept = {words(t) for t in beams.target[0, :, 1:].tolist()}
        rows += [
            (step, parent, said, math.exp(total), int(said in kept))
            for parent, said, total in candidates
        ]
    record(
        "beam",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="What a beam of two tries and keeps, step by step",
        prediction=(
            "A comes first, and B B ends first: 0.36 against 0.30 for the "
            "road that a greedy search takes."
        ),
        columns={
            "step": "",
            "after": "",
            "tried": "",
            "chance": "",
            "kept": "",
        },
        rows=rows,
    )
