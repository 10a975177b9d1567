"""Texts to train on: one that Python brings, one to download, your own.

Sources
- "python_reference": the language reference inside CPython's own
  `pydoc_data.topics`. Its words differ a little between Python versions.
- "tiny_shakespeare": Karpathy 2015, char-rnn, `tinyshakespeare/input.txt`.
"""

import codecs
import hashlib
import os
import pydoc_data.topics
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Download:
    """A text that is fetched once and recognised by its SHA-256."""

    about: str
    file: str
    url: str
    sha256: str


TIMEOUT = 10  # seconds without a word from the server
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


class TextMissing(RuntimeError):
    """A text could be neither found nor fetched, or is another than ours.

    One line, which names the way out.
    """


def text(name: str = "python_reference") -> str:
    """The whole corpus as one string, by its name or the path of a file.

    A download is looked for in the folder that the environment variable
    LLMNOTES_DATA_DIR names, then in the user's cache, then fetched. A file
    that is called like a corpus is read as `./name`.

    Raises `ValueError` for what is neither a name nor a text in UTF-8,
    `TextMissing` if the text can be neither found nor fetched, or is not
    the one we know.
    """
    if name == "python_reference":
        topics = pydoc_data.topics.topics
        return "\n\n".join(topics[topic] for topic in sorted(topics))
    if name not in DOWNLOADS:
        return own(name)
    # Not read_text: that would turn \r\n into \n and hide a changed file.
    return get(name).read_bytes().decode("utf-8")


def get(name: str) -> Path:
    """The file of a text, fetched if it is not there yet."""
    return find(name) or fetch(name, DOWNLOADS[name])


def find(name: str) -> Path | None:
    """The file of a text, if it is on this machine; asks no network."""
    if name not in DOWNLOADS:
        raise ValueError(
            f"name: got {name!r}, expected one of {', '.join(names())}"
        )
    return local_copy(DOWNLOADS[name]) or cached(DOWNLOADS[name])


def own(path: str) -> str:
    """A text of the reader's: a file in UTF-8, Windows' marks taken out."""
    if not path or not Path(path).exists():
        raise ValueError(
            f"name: got {path!r}, no such file and no such text; expected a "
            f"file in UTF-8, or one of {', '.join(names())}"
        )
    if Path(path).is_dir():
        raise ValueError(
            f"name: got {path!r}, a folder; expected a file in UTF-8"
        )
    body = Path(path).read_bytes()
    try:
        found = body.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        wide = body[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        hint = ", not in UTF-16, which this looks like" if wide else ""
        raise ValueError(
            f"name: got {path!r}, whose byte {error.start} is "
            f"0x{body[error.start]:02x}; expected a file in UTF-8{hint}"
        ) from error
    if not found:
        raise ValueError(
            f"name: got {path!r}, an empty file; expected at least one "
            "character"
        )
    return found.replace("\r\n", "\n")


def local_copy(wanted: Download) -> Path | None:
    """The file in LLMNOTES_DATA_DIR, if it is there, checked."""
    folder = os.environ.get("LLMNOTES_DATA_DIR")
    if not folder or not (Path(folder) / wanted.file).is_file():
        return None
    path = Path(folder) / wanted.file
    if (found := sha256(path)) != wanted.sha256:
        raise TextMissing(
            f"{path}: got SHA-256 {found[:12]}…, expected "
            f"{wanted.sha256[:12]}…; replace or remove the file"
        )
    return path


def cached(wanted: Download) -> Path | None:
    """The file in the user's cache, if a whole one is there."""
    import pooch  # here: `llmnotes data list` does not wait for it

    path = pooch.os_cache("llmnotes") / wanted.file
    whole = path.is_file() and sha256(path) == wanted.sha256
    return path if whole else None


def sha256(path: Path) -> str:
    """What a file is recognised by."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(name: str, wanted: Download) -> Path:
    """Download into the user's cache."""
    import pooch
    from requests.exceptions import RequestException

    from llmnotes.progress_bar import terminal

    pooch.get_logger().setLevel("WARNING")
    folder = pooch.os_cache("llmnotes")
    loader = pooch.HTTPDownloader(
        timeout=TIMEOUT, progressbar=terminal(sys.stderr)
    )
    try:
        path = pooch.retrieve(
            wanted.url,
            known_hash=f"sha256:{wanted.sha256}",
            fname=wanted.file,
            path=folder,
            downloader=loader,
        )
    except RequestException as error:
        why = (
            f"could not download {wanted.url} ({type(error).__name__}); put "
            f"the file into a folder as {wanted.file} and set "
            "LLMNOTES_DATA_DIR to that folder, or use python_reference, "
            "which needs no network"
        )
    except OSError as error:
        why = (
            f"could not be kept in {folder} ({error}); set "
            "LLMNOTES_DATA_DIR to a folder that holds it"
        )
    except ValueError:
        why = (
            f"{wanted.url} did not send the file with SHA-256 "
            f"{wanted.sha256[:12]}…; nothing was kept, try again"
        )
    else:
        return Path(path)
    # Out here: the sixty lines of what happened inside would hide this one.
    raise TextMissing(f"{name}: {why}")
