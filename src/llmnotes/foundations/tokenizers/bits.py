"""Bits per byte: losses of models with different tokenizers, compared.

loss  = mean cross-entropy in nats per token
bits  = loss · tokens / ln 2, for the whole text
bytes = length of the text in UTF-8, which no tokenizer changes
"""

import math
from collections.abc import Sized

from llmnotes.foundations.tokenizers.splitting import check_text


def bits_per_byte(loss: float, ids: Sized, text: str) -> float:
    """What a text costs per byte, from the mean loss in nats per token.

    `ids` are the tokens that the mean was taken over, those of `text`.
    Raises `ValueError` for a loss below 0 or an empty text.
    """
    check_text(text)
    if not loss >= 0:
        raise ValueError(f"loss: got {loss}, expected 0 or more")
    if not text:
        raise ValueError("text: got nothing, expected at least one character")
    return loss * len(ids) / (math.log(2) * len(text.encode()))
