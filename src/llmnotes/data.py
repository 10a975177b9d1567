"""What to train on, by name, and text as numbers: splits and batches.

    ids   = the corpus as one long row of token numbers
    block = T (tokens a model sees at once; its context length)
    seed, step = all that the content of a batch depends on

`text(name)` and `names()` are those of `llmnotes.corpora`, `images(name)` and
`captioned(name)` those of `llmnotes.pictures`.

Sources
- Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"
  (Philox: random numbers as a pure function of a key).
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from llmnotes.corpora import names as names
from llmnotes.corpora import text as text
from llmnotes.pictures import captioned as captioned
from llmnotes.pictures import images as images

Ids = Tensor | np.ndarray | Sequence[int]  # token numbers in any whole type


class CharVocabulary:
    """Every different character of a text is a token, in code-point order.

    Raises `ValueError` if the text is empty.
    """

    def __init__(self, text: str):
        if not text:
            raise ValueError(
                "text: got an empty string, expected at least one character"
            )
        self.symbols = "".join(sorted(set(text)))
        self.codes = code_points(self.symbols)

    @property
    def size(self) -> int:
        """Number of different tokens."""
        return len(self.symbols)

    def encode(self, text: str) -> Int[Tensor, "tokens"]:
        """Token numbers; `ValueError` names a character it does not know."""
        codes = code_points(text)
        ids = np.searchsorted(self.codes, codes).clip(max=self.size - 1)
        unknown = self.codes[ids] != codes
        if unknown.any():
            at = int(unknown.argmax())
            raise ValueError(
                f"text: got {text[at]!r} at position {at}, expected only the "
                f"{self.size} characters of the vocabulary"
            )
        return torch.from_numpy(ids.astype(np.int64))

    def decode(self, ids: Ids) -> str:
        """The text of token numbers; `ValueError` for one it has not.

        -100, which stands for no target, would else be the hundredth
        character from the end.
        """
        ids = as_ids("ids", ids, self.size)
        return "".join(self.symbols[i] for i in ids.tolist())


def code_points(text: str) -> np.ndarray:
    """Unicode code points of a string, all at once."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def as_ids(
    name: str, ids: Ids, size: int | None = None
) -> Int[Tensor, "tokens"]:
    """Token numbers as one row of int64, whatever held them.

    With a `size`, that of the vocabulary, all must lie below it. Raises
    `ValueError` for anything but one row of whole numbers from 0.
    """
    found = row(name, ids)
    wrong = found < 0 if size is None else (found < 0) | (found >= size)
    if wrong.any():
        at = int(wrong.int().argmax())
        expected = "0 or more" if size is None else f"0 to {size - 1}"
        raise ValueError(
            f"{name}: got {int(found[at])} at position {at}, expected "
            f"{expected}"
        )
    return found


def row(name: str, ids: Ids) -> Int[Tensor, "tokens"]:
    """One row of whole numbers as int64; without a copy if it is that."""
    if isinstance(ids, Tensor):
        kind = ids.dtype
        real = kind.is_floating_point or kind.is_complex or kind == torch.bool
    else:
        ids = np.asarray(ids)
        kind = ids.dtype
        real = ids.size and kind.kind not in "iu"  # [] is float64
    if real:
        raise ValueError(f"{name}: got {kind}, expected whole numbers")
    if ids.ndim != 1:
        raise ValueError(
            f"{name}: got shape {tuple(ids.shape)}, expected one row of "
            "token numbers"
        )
    if isinstance(ids, np.ndarray):
        ids = torch.from_numpy(ids.astype(np.int64))
    return ids.to(torch.int64)


def split(ids: Ids, share: float = 0.9) -> tuple[Ids, Ids]:
    """The first `share` of a corpus to train on, the rest to validate."""
    if not 0 < share < 1:
        raise ValueError(f"share: got {share}, expected between 0 and 1")
    border = int(len(ids) * share)
    return ids[:border], ids[border:]


def batch(
    ids: Ids,
    *,
    batch_size: int,
    block: int,
    seed: int,
    step: int,
) -> tuple[Int[Tensor, "batch length"], Int[Tensor, "batch length"]]:
    """Random blocks and, as targets, the same blocks one token later.

    A pure function of its arguments: to resume a run, or to look at the
    batch that went wrong, (seed, step) is all that has to be known.

    Raises `ValueError` if the corpus is shorter than one block or not one
    row of whole numbers.
    """
    ids = row("ids", ids)
    check_block(ids, block)
    # The bits of a Philox key are fixed for ever; those that
    # Generator.integers draws from them may change with NumPy's version.
    bits = np.random.Philox(key=[seed, step]).random_raw(batch_size)
    starts = (bits % np.uint64(len(ids) - block)).astype(np.int64)
    windows = ids.unfold(0, block + 1, 1)  # a view: every window, no copy
    chosen = windows[torch.from_numpy(starts).to(ids.device)]
    return chosen[:, :-1], chosen[:, 1:]


def check_block(ids: Tensor, block: int, name: str = "ids") -> None:
    """Raise `ValueError` unless one block and its next token fit."""
    if block < 1:
        raise ValueError(f"block: got {block}, expected at least 1")
    if len(ids) <= block:
        raise ValueError(
            f"{name}: got {len(ids)} tokens, expected at least {block + 1}: "
            f"one block of {block} and the token after it"
        )
