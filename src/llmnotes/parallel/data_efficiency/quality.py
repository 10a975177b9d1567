"""A score of a text, and what is kept by it.

    score = the share of its words that are among eight common ones
    kept  = texts with the highest scores, up to so many characters

A score is likeness to what its maker had in mind, not quality. Judge it by
training on what it keeps.

Sources
- Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights
  from Training Gopher", arXiv 2112.11446, appendix A.1.1 (the eight words).
"""

from collections.abc import Iterable, Sequence

import numpy as np

from llmnotes.parallel.data_efficiency.duplicates import normalised

COMMON = frozenset("the be to of and that have with".split())


def common_share(text: str) -> float:
    """Share of the words that are common ones; 0 without any word."""
    words = normalised(text).split()
    return sum(word in COMMON for word in words) / max(1, len(words))


def passes(text: str) -> bool:
    """Gopher's rule: at least two of the eight words are there."""
    return len(COMMON & set(normalised(text).split())) >= 2


def up_to(
    texts: Sequence[str], order: Iterable[int], characters: int
) -> list[int]:
    """Texts in this order, until they hold so many characters.

    Raises `ValueError` if all of them hold fewer.
    """
    total, kept = 0, []
    for i in order:
        if total >= characters:
            break
        kept.append(int(i))
        total += len(texts[i])
    if total < characters:
        raise ValueError(
            f"characters: got {characters}, expected at most {total}, which "
            "is what all texts hold"
        )
    return kept


def best(texts: Sequence[str], characters: int) -> list[int]:
    """The texts of the highest scores, up to so many characters."""
    scores = np.array([common_share(text) for text in texts])
    order = (-scores).argsort(kind="stable").tolist()
    return up_to(texts, order, characters)
