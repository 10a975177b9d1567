"""Models that others trained, as `llmnotes sample` opens their folders.

config.json = says the architecture, `model_type`
tokenizer   = beside it: tokenizer.model, or GPT-2's two files
first, end  = <s> and </s>, where the tokenizer has them
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from pkgutil import resolve_name

import torch
from torch import Tensor, nn

from llmnotes import foreign, presets
from llmnotes.foundations.tokenizers import load

HALF = "\ufffd"  # what a letter is until all its bytes are there


def theirs(folder: str) -> bool:
    """Whether Hugging Face's files lie in a folder."""
    return (Path(folder) / foreign.CONFIG).exists()


class Vocabulary:
    """A tokenizer of theirs, as `data.CharVocabulary`, but of pieces."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.symbols = "\n"  # what a text may begin with
        special = getattr(tokenizer, "special", {})
        self.first, self.end = special.get("<s>"), special.get("</s>")

    def encode(self, text: str) -> Tensor:
        """Token numbers of a text, behind <s>."""
        first = [] if self.first is None else [self.first]
        return torch.tensor([*first, *self.tokenizer.encode(text)])

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """Letters as soon as all their bytes are there, up to </s>.

        They are read behind a letter: alone, a piece would lose its space.
        """
        before = self.tokenizer.encode("a")
        waiting: list[int] = []
        for i in ids:
            if i == self.end:
                return
            waiting.append(i)
            text = self.tokenizer.decode([*before, *waiting])[1:]
            if not text.endswith(HALF):
                yield from text
                waiting = []
        yield from self.tokenizer.decode([*before, *waiting])[1:]


def recall(folder: str) -> tuple[nn.Module, Vocabulary]:
    """The model and the tokenizer that lie in a folder.

    Raises `ValueError` for an architecture that the book does not have, for
    files that do not fit, and for a tokenizer with more pieces than the
    model has.
    """
    path = Path(folder) / foreign.CONFIG
    kind = foreign.read_json(path).get("model_type")
    reader = presets.known(f"{path}: model_type", kind, presets.FOLDERS)
    tokenizer = load(folder)
    model = resolve_name(reader)(folder)
    rows = model.config.vocab_size
    if tokenizer.size > rows:
        raise ValueError(
            f"{folder}: got a tokenizer of {tokenizer.size} pieces, expected "
            f"at most the model's vocab_size = {rows}"
        )
    return model, Vocabulary(tokenizer)
