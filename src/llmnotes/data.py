"""Text to train on, as numbers: corpora, characters, splits and batches.

    ids   = the corpus as one long row of token numbers
    block = T (tokens a model sees at once; its context length)
    seed, step = all that the content of a batch depends on

Sources
1. "python_reference": the language reference inside CPython's own
   `pydoc_data.topics`. Its words differ a little between Python versions.
2. "tiny_shakespeare": Karpathy 2015, char-rnn, `tinyshakespeare/input.txt`.
3. Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"
   (Philox: random numbers as a pure function of a key).
"""

import hashlib
import os
import pydoc_data.topics
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch
import torch
from jaxtyping import Int
from requests.exceptions import RequestException
from torch import Tensor


@dataclass(frozen=True)
class Download:
    """A text that is fetched once and recognised by its SHA-256."""

    about: str
    file: str
    url: str
    sha256: str


PYTHON_REFERENCE = "the Python language reference; ships with Python"
DOWNLOADS = {
    "tiny_shakespeare": Download(
        about="40,000 lines from Shakespeare's plays; 1.1 MB, downloaded once",
        file="tinyshakespeare.txt",
        url="https://raw.githubusercontent.com/karpathy/char-rnn/master/"
        "data/tinyshakespeare/input.txt",
        sha256="86c4e6aa9db7c042ec79f339dcb96d42"
        "b0075e16b8fc2e86bf0ca57e2dc565ed",
    )
}


def names() -> dict[str, str]:
    """Every corpus that `text` knows, with one line about it."""
    about = {name: found.about for name, found in DOWNLOADS.items()}
    return {"python_reference": PYTHON_REFERENCE, **about}


def text(name: str = "python_reference") -> str:
    """The whole corpus as one string.

    A download is looked for in the folder that the environment variable
    LLMNOTES_DATA_DIR names, then in the user's cache, then fetched.

    Raises `ValueError` for an unknown name, `RuntimeError` if the text can
    be neither found nor fetched, or is not the one we know.
    """
    if name == "python_reference":
        topics = pydoc_data.topics.topics
        return "\n\n".join(topics[topic] for topic in sorted(topics))
    if name not in DOWNLOADS:
        raise ValueError(
            f"name: got {name!r}, expected one of {', '.join(names())}"
        )
    path = local_copy(DOWNLOADS[name]) or fetch(name, DOWNLOADS[name])
    # Not read_text: that would turn \r\n into \n and hide a changed file.
    return path.read_bytes().decode("utf-8")


def local_copy(wanted: Download) -> Path | None:
    """The file in LLMNOTES_DATA_DIR, if it is there, checked."""
    folder = os.environ.get("LLMNOTES_DATA_DIR")
    if not folder or not (Path(folder) / wanted.file).is_file():
        return None
    path = Path(folder) / wanted.file
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wanted.sha256:
        raise RuntimeError(
            f"{path}: got SHA-256 {found[:12]}…, expected "
            f"{wanted.sha256[:12]}…; replace or remove the file"
        )
    return path


def fetch(name: str, wanted: Download) -> Path:
    """Download into the user's cache, unless a checked copy is there."""
    pooch.get_logger().setLevel("WARNING")
    try:
        path = pooch.retrieve(
            wanted.url,
            known_hash=f"sha256:{wanted.sha256}",
            fname=wanted.file,
            path=pooch.os_cache("llmnotes"),
            progressbar=True,
        )
    except RequestException as error:
        raise RuntimeError(
            f"{name}: could not download {wanted.url} "
            f"({type(error).__name__}); put the file into a folder as "
            f"{wanted.file} and set LLMNOTES_DATA_DIR to that folder, or use "
            "python_reference, which needs no network"
        ) from error
    except ValueError as error:
        raise RuntimeError(
            f"{name}: {wanted.url} did not send the file with SHA-256 "
            f"{wanted.sha256[:12]}…; nothing was kept, try again"
        ) from error
    return Path(path)


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

    def decode(self, ids: Int[Tensor, "tokens"]) -> str:
        """The text that these token numbers stand for."""
        return "".join(self.symbols[i] for i in ids.tolist())


def code_points(text: str) -> np.ndarray:
    """Unicode code points of a string, all at once."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def split(
    ids: Int[Tensor, "tokens"], share: float = 0.9
) -> tuple[Int[Tensor, "train"], Int[Tensor, "validation"]]:
    """The first `share` of a corpus to train on, the rest to validate."""
    if not 0 < share < 1:
        raise ValueError(f"share: got {share}, expected between 0 and 1")
    border = int(len(ids) * share)
    return ids[:border], ids[border:]


def batch(
    ids: Int[Tensor, "tokens"],
    *,
    batch_size: int,
    block: int,
    seed: int,
    step: int,
) -> tuple[Int[Tensor, "batch block"], Int[Tensor, "batch block"]]:
    """Random blocks and, as targets, the same blocks one token later.

    A pure function of its arguments: to resume a run, or to look at the
    batch that went wrong, (seed, step) is all that has to be known.

    Raises `ValueError` if the corpus is shorter than one block.
    """
    check_block(ids, block)
    # The bits of a Philox key are fixed for ever; those that
    # Generator.integers draws from them may change with NumPy's version.
    bits = np.random.Philox(key=[seed, step]).random_raw(batch_size)
    starts = (bits % np.uint64(len(ids) - block)).astype(np.int64)
    windows = ids.unfold(0, block + 1, 1)  # a view: every window, no copy
    chosen = windows[torch.from_numpy(starts).to(ids.device)]
    return chosen[:, :-1], chosen[:, 1:]


def check_block(ids: Tensor, block: int) -> None:
    """Raise `ValueError` unless one block and its next token fit."""
    if block < 1:
        raise ValueError(f"block: got {block}, expected at least 1")
    if len(ids) <= block:
        raise ValueError(
            f"ids: got {len(ids)} tokens, expected at least {block + 1}: one "
            f"block of {block} and the token after it"
        )
