r"""GPT-2's words: what byte pairs are joined in, and never across.

    kind = of a character: L letter, N number, S space, O any other
    word = characters of one kind with the space before it, or 's, 't, …

The same as GPT-2's regular expression, which needs the package `regex`:

    '(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask
Learners" (GPT-2), §2.2 (no joints between kinds of characters).
"""

import re
import unicodedata
from collections.abc import Iterator

ENDING = re.compile("'(?:s|t|re|ve|m|ll|d)")  # don't: don, 't
NOT_SPACE = "\x1c\x1d\x1e\x1f"  # for Unicode, against Python
CODES = {"L": 1, "N": 2, "S": 3, "O": 4}  # kinds in compiled loops


def kind(c: str) -> str:
    """L, N, S or O: words do not reach from one kind to another."""
    if c.isspace() and c not in NOT_SPACE:
        return "S"
    major = unicodedata.category(c)[0]
    return major if major in "LN" else "O"


def split(text: str) -> Iterator[str]:
    """Words of one kind, each with the space before it; 's, 't, 're, … apart.

    Of several spaces the last belongs to what comes next.
    """
    kinds, at = "".join(map(kind, text)), 0
    while at < len(text):
        found = ENDING.match(text, at)
        end = found.end() if found else word_end(text, kinds, at)
        yield text[at:end]
        at = end


def word_end(text: str, kinds: str, at: int) -> int:
    """Where the word ends that begins at a place."""
    start = at
    if text[at] == " " and kinds[at + 1 : at + 2] not in ("S", ""):
        start += 1
    end = start + 1
    while end < len(text) and kinds[end] == kinds[start]:
        end += 1
    if kinds[start] == "S" and end < len(text) and end - at > 1:
        end -= 1
    return end


def check_text(text: object) -> None:
    """Raise `ValueError` unless this is a str that UTF-8 can hold.

    Half of a surrogate pair is no character. Others put U+FFFD in its place,
    and the text that comes back is another one.
    """
    if not isinstance(text, str):
        raise ValueError(f"text: got {type(text).__name__}, expected a str")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half, at = text[error.start], error.start
        raise ValueError(
            f"text: got {half!r} at position {at}, half of a surrogate pair; "
            "expected whole characters"
        ) from None
