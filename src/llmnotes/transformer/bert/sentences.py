"""One vector per sentence: the mean of its tokens' vectors, at length 1.

    hidden = a vector for each token, the last layer's output
    mask   = True where a token is real, False where it is padding
    cosine = dot product of two vectors of length 1

Sources
- Reimers and Gurevych 2019, "Sentence-BERT", arXiv 1908.10084, §3 (mean).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from llmnotes.checks import check_sizes
from llmnotes.foundations.tokenizers.wordpiece import WordPiece, check_texts
from llmnotes.precision import wide
from llmnotes.transformer.bert.model import Bert

LONGEST = 256  # ids of a sentence that all-MiniLM-L6-v2 was trained to read


def mean_pool(
    hidden: Float[Tensor, "batch length d_model"],
    mask: Bool[Tensor, "batch length"],
) -> Float[Tensor, "batch d_model"]:
    """Return the mean over real tokens, [CLS] and [SEP] among them.

    What stands at the padding is taken out: times zero, NaN would stay.

    Source: Reimers & Gurevych 2019.
    """
    real = wide(hidden.masked_fill(~mask[:, :, None], 0))
    count = mask.sum(1, keepdim=True).clamp(min=1)
    return (real.sum(1) / count).to(hidden.dtype)


@torch.no_grad()
def embed(
    model: Bert,
    tokenizer: WordPiece,
    sentences: Sequence,
    at_once: int = 32,
) -> Float[Tensor, "sentences d_model"]:
    """Return a vector of length 1 for each sentence.

    Raises `ValueError` unless they are some sentences, in a list.
    """
    check_texts("sentences", sentences)
    check_sizes(at_once=at_once)
    found = []
    for start in range(0, len(sentences), at_once):
        some = sentences[start : start + at_once]
        ids, mask = tokenizer.batch(some, longest=LONGEST)
        found.append(mean_pool(model(ids, mask), mask))
    return F.normalize(torch.cat(found), dim=-1)


def most_similar(
    vectors: Float[Tensor, "sentences d_model"], count: int
) -> list[tuple[int, int, float]]:
    """Return the `count` pairs (i, j, cosine), i < j, likest first."""
    check_sizes(count=count)
    cosine = vectors @ vectors.T
    i, j = torch.triu_indices(*cosine.shape, offset=1)
    best = cosine[i, j].sort(descending=True)
    order = best.indices[:count]
    return list(
        zip(i[order].tolist(), j[order].tolist(), best.values[:count].tolist(),
            strict=True)
    )  # fmt: skip
