"""CLIP's tokenizer, from the files that lie beside Stable Diffusion.

    word    = letters, one digit, or other signs; 's, 't, 're, … apart
    piece   = part of a word, in GPT-2's letters for bytes; the last one of a
              word ends with </w>
    rank    = how early a pair is joined
    longest = tokens of a caption, start and end included

Capital letters and spaces do not count. What is too long is cut, and what is
too short is filled with `pad`, up to the same length for all.

Sources
- Radford et al. 2021, "Learning Transferable Visual Models From Natural
  Language Supervision", arXiv 2103.00020, §2.4.
- openai/CLIP, `clip/simple_tokenizer.py`; `transformers` 5: `CLIPTokenizer`.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from llmnotes import foreign
from llmnotes.foundations.tokenizers import files, join
from llmnotes.foundations.tokenizers.splitting import ENDING, check_text, kind

START, END, LAST = "<|startoftext|>", "<|endoftext|>", "</w>"
SETTINGS, WHOLE = "tokenizer_config.json", "tokenizer.json"


def words(text: str) -> Iterator[str]:
    """The words of a text in small letters, without spaces."""
    text = "".join(c.lower() for c in unicodedata.normalize("NFC", text))
    kinds, at = "".join(map(kind, text)), 0
    while at < len(text):
        end = word_end(text, kinds, at)
        if kinds[at] != "S":
            yield text[at:end]
        at = end


def word_end(text: str, kinds: str, at: int) -> int:
    """Where the word ends that begins at a place."""
    if found := ENDING.match(text, at):
        return found.end()
    end = at + 1
    while kinds[at] != "N" and kinds[end : end + 1] == kinds[at]:
        end += 1
    return end


class CLIPTokenizer:
    """Captions to rows of ids, all of one length.

    `ids` is {piece: id}, `merges` {(left, right): rank}.

    Raises `ValueError` if a special token has no id.
    """

    def __init__(
        self,
        ids: Mapping[str, int],
        merges: Mapping[tuple[str, str], int],
        *,
        longest: int = 77,
        pad: str = END,
    ):
        for token in (START, END, pad):
            if token not in ids:
                raise ValueError(f"ids: got no id for {token}, expected one")
        self.ids, self.merges, self.longest = dict(ids), merges, longest
        self.start, self.end, self.pad = (ids[t] for t in (START, END, pad))

    @property
    def size(self) -> int:
        """One more than the largest id: the rows of an embedding."""
        return max(self.ids.values()) + 1

    def pieces(self, word: str) -> list[str]:
        """The pieces of a word, the pair of lowest rank joined first."""
        shown = list(files.written(word.encode()))
        shown[-1] += LAST
        return join(shown, lambda left, right: self.merges.get((left, right)))

    def encode(self, text: str) -> list[int]:
        """Ids of a text between start and end, cut where it is too long.

        A special token written in it is text like any other. A piece that
        the vocabulary lacks is read as the end.
        """
        check_text(text)
        found = [
            self.ids.get(piece, self.end)
            for word in words(text)
            for piece in self.pieces(word)
        ]
        return [self.start, *found[: self.longest - 2], self.end]

    def __call__(self, captions: Sequence[str]) -> Int[Tensor, "batch length"]:
        """A row for each caption, filled up behind its end."""
        rows = [self.encode(caption) for caption in captions]
        filled = [row + [self.pad] * (self.longest - len(row)) for row in rows]
        return torch.tensor(filled)


def read_tokenizer(folder: str | Path) -> CLIPTokenizer:
    """Return the tokenizer whose vocab.json and merges.txt lie in a folder.

    Newer versions write tokenizer.json alone. tokenizer_config.json says how
    long captions are and what fills them.

    Raises `ValueError` naming the file that cannot be read or understood.
    """
    path = Path(folder) / files.VOCABULARY
    if path.exists():
        ids, merges = foreign.read_json(path), read_merges(Path(folder))
    else:
        path = Path(folder) / WHOLE
        ids, merges = read_whole(path)
    settings = foreign.read_json(Path(folder) / SETTINGS)
    pad = settings.get("pad_token", END)
    with files.blaming(path):
        return CLIPTokenizer(
            ids,
            {tuple(pair): rank for rank, pair in enumerate(merges)},
            longest=settings.get("model_max_length", 77),
            pad=pad["content"] if isinstance(pad, dict) else pad,
        )


def read_merges(folder: Path) -> list[list[str]]:
    """Pairs of merges.txt; a first line that is no pair says the version."""
    path = folder / files.MERGES
    lines = files.read(path).split("\n")
    lines = lines[lines[0].startswith(files.VERSION) :]
    pairs = [line.split(" ") for line in lines if line]
    for pair in pairs:
        if len(pair) != 2:
            raise ValueError(f"{path}: got {pair}, expected two pieces")
    return pairs


def read_whole(path: Path) -> tuple[dict[str, int], list[list[str]]]:
    """Ids and pairs of a tokenizer.json."""
    model = foreign.read_json(path).get("model", {})
    if not isinstance(model, dict) or not {"vocab", "merges"} <= model.keys():
        raise ValueError(f"{path}: model: got no vocab and merges")
    pairs = model["merges"]
    return model["vocab"], [
        pair.split(" ") if isinstance(pair, str) else pair for pair in pairs
    ]
