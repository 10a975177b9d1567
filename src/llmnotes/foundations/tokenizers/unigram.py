"""Unigram: the likeliest of all ways to cut a text into pieces.

    score = log p(piece); a text's is the sum over its pieces
    best  = the best score of the text up to each place (Viterbi)
    alpha = log of the sum over all ways to cut the text up to a place
    beta  = the same from a place to the end
    count = how often a piece is expected: over all ways, by their chance

Training begins with too many pieces. It counts in expectation (E), divides
the counts (M), and drops the pieces without which the text loses least.

Source: Kudo 2018, "Subword Regularization", arXiv 1804.10959, §3.2.
"""

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

from llmnotes.checks import check_sizes
from llmnotes.foundations.tokenizers import model_file
from llmnotes.foundations.tokenizers.model_file import (
    BYTE,
    CONTROL,
    UNKNOWN,
    ModelFile,
    Piece,
)
from llmnotes.foundations.tokenizers.sentencepiece import (
    RUN,
    SPACE,
    SentencePieces,
)
from llmnotes.foundations.tokenizers.splitting import check_text

PENALTY = 10.0  # an unknown letter is so much worse than the worst piece
LONGEST = 16  # characters of a piece that is learned
SEEDS = 4  # times as many pieces at the start as in the end
KEEP = 0.75  # share of the pieces that outlives a round
OTHERS = (
    Piece("<unk>", 0.0, UNKNOWN),
    Piece("<s>", 0.0, CONTROL),
    Piece("</s>", 0.0, CONTROL),
    *(Piece(f"<0x{b:02X}>", 0.0, BYTE) for b in range(256)),
)


class Unigram(SentencePieces):
    """SentencePiece's second model: pieces with probabilities."""

    type = model_file.UNIGRAM

    def __init__(self, model: ModelFile):
        super().__init__(model)
        scores = {
            piece: model.pieces[i].score for piece, i in self.ids.items()
        }
        self.scores = scores
        self.longest = max(map(len, scores), default=1)
        self.worst = min(scores.values(), default=0.0) - PENALTY

    @classmethod
    def train(cls, text: str, vocabulary: int) -> "Unigram":
        """A tokenizer of `vocabulary` pieces, learned from a text.

        260 or so of them are <unk>, <s>, </s> and the bytes, and each
        character of the text is one. Raises `ValueError` if these are too
        many, or the text has too few others.
        """
        check_text(text)
        check_sizes(vocabulary=vocabulary)
        words = Counter(RUN.findall(SPACE + text.replace(" ", SPACE)))
        scores = learn(words, vocabulary - len(OTHERS))
        best = sorted(scores, key=lambda piece: (-scores[piece], piece))
        # Files hold float32: what is saved shall cut as what was learned.
        learned = (Piece(p, float(np.float32(scores[p]))) for p in best)
        return cls(
            ModelFile(
                (*OTHERS, *learned),
                cls.type,
                byte_fallback=True,
                spare_spaces=False,
            )
        )

    def cut(self, word: str) -> list[str]:
        """The pieces of a text without spaces; ▁ stands for them."""
        return viterbi(word, self.scores, self.longest, self.worst)


def viterbi(
    word: str, scores: Mapping[str, float], longest: int, worst: float
) -> list[str]:
    """The likeliest pieces; a letter that is none costs `worst`."""
    best, begin = [0.0], [0]
    for end in range(1, len(word) + 1):
        top, where = -math.inf, end - 1
        for start in range(max(0, end - longest), end):
            score = scores.get(word[start:end])
            if score is None and start == end - 1:
                score = worst
            if score is not None and best[start] + score > top:
                top, where = best[start] + score, start
        best.append(top)
        begin.append(where)
    found, end = [], len(word)
    while end:
        found.append(word[begin[end] : end])
        end = begin[end]
    return found[::-1]


def learn(words: Mapping[str, int], size: int) -> dict[str, float]:
    """Scores of as many pieces as are wanted, all letters among them."""
    letters = set("".join(words))
    if size < len(letters):
        raise ValueError(
            f"vocabulary: got {size + len(OTHERS)}, expected at least "
            f"{len(letters) + len(OTHERS)}: each character is a piece"
        )
    counts = seeds(words, letters, SEEDS * size)
    scores = normalised(counts)
    if len(scores) < size:
        raise ValueError(
            f"vocabulary: got {size + len(OTHERS)}, expected at most "
            f"{len(scores) + len(OTHERS)}: no more pieces come twice"
        )
    while True:
        for _ in range(2):
            counts, _ = expected(words, scores)
            scores = normalised(floored(counts, letters))
        if len(scores) <= size:
            return scores
        keep = max(size, int(KEEP * len(scores)))
        scores = pruned(scores, counts, letters, keep)


def seeds(words: Mapping[str, int], letters: set, most: int) -> Counter:
    """Letters, and the substrings of words that cover most of the text."""
    counts: Counter = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + LONGEST) + 1):
                counts[word[start:end]] += count
    long = [p for p, n in counts.items() if n > 1 and p not in letters]
    long.sort(key=lambda piece: (-counts[piece] * len(piece), piece))
    return Counter({p: counts[p] for p in (*letters, *long[:most])})


def expected(
    words: Mapping[str, int], scores: Mapping[str, float]
) -> tuple[dict[str, float], float]:
    """The E step: expected counts of all pieces, and log p(text)."""
    longest = max(map(len, scores))
    counts, total = dict.fromkeys(scores, 0.0), 0.0
    for word, times in words.items():
        edges = [
            (start, end, word[start:end], scores[word[start:end]])
            for end in range(1, len(word) + 1)
            for start in range(max(0, end - longest), end)
            if word[start:end] in scores
        ]
        n = len(word)
        alpha, beta = [0.0] + [-math.inf] * n, [-math.inf] * n + [0.0]
        for start, end, _, score in edges:
            alpha[end] = log_add(alpha[end], alpha[start] + score)
        for start, end, _, score in reversed(edges):
            beta[start] = log_add(beta[start], beta[end] + score)
        for start, end, piece, score in edges:
            chance = alpha[start] + score + beta[end] - alpha[n]
            counts[piece] += times * math.exp(chance)
        total += times * alpha[n]
    return counts, total


def log_add(a: float, b: float) -> float:
    """log(eᵃ + eᵇ), without leaving the logarithms."""
    if a < b:
        a, b = b, a
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


def floored(counts: Mapping[str, float], letters: set) -> dict[str, float]:
    """Letters keep a little, so that no text of theirs is impossible."""
    return {
        piece: max(count, 1e-3 if piece in letters else 0.0)
        for piece, count in counts.items()
        if piece in letters or count > 1e-3
    }


def normalised(counts: Mapping[str, float]) -> dict[str, float]:
    """The M step: the log of each count's share."""
    total = math.log(sum(counts.values()))
    return {piece: math.log(count) - total for piece, count in counts.items()}


def pruned(
    scores: Mapping[str, float],
    counts: Mapping[str, float],
    letters: set,
    keep: int,
) -> dict[str, float]:
    """The pieces without which log p(text) would fall most, and letters.

    What a piece is worth: its expected count times what its own best cut
    without it would cost.
    """
    longest, worth = max(map(len, scores)), {}
    for piece in scores:
        others = {p: s for p, s in parts(piece, scores) if p != piece}
        rest = sum(others[p] for p in viterbi(piece, others, longest, -1e9)
                   if p in others)  # fmt: skip
        worth[piece] = (
            math.inf
            if piece in letters
            else counts.get(piece, 0.0) * (scores[piece] - rest)
        )
    best = sorted(scores, key=lambda piece: (-worth[piece], piece))
    return {piece: scores[piece] for piece in best[:keep]}


def parts(piece: str, scores: Mapping[str, float]):
    """All substrings that are pieces, with their scores."""
    for start in range(len(piece)):
        for end in range(start + 1, len(piece) + 1):
            if piece[start:end] in scores:
                yield piece[start:end], scores[piece[start:end]]
