r"""GPT-2's tokenizer: bytes of words, joined pair by pair.

    piece  = a row of bytes that the vocabulary holds
    rank   = how early a pair is joined; the lowest first, of equals the left
    kind   = of a character: L letter, N number, S space, O any other

A text is cut into words, a word is taken apart into the bytes of its UTF-8,
and the pair of neighbours with the lowest rank is joined until none is left
that has one. All 256 bytes are pieces, so nothing is unknown.

    vocab.json   {piece: id}, each byte written as a character one can see
    merges.txt   pairs of pieces, the first to be joined first
    *.tiktoken   one piece a line in base64, and its id, which is its rank

Sources
- Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"
  (GPT-2), §2.2 (bytes, and no joints between kinds of characters).
- Sennrich et al. 2015, "Neural Machine Translation of Rare Words with Subword
  Units", arXiv 1508.07909, §3.2 (joining pairs).
"""

import base64
import heapq
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from llmnotes import foreign
from llmnotes.foundations.tokenizers.wordpiece import check_ids

VOCABULARY, MERGES = "vocab.json", "merges.txt"
END_OF_TEXT = "<|endoftext|>"
ENDING = re.compile("'(?:s|t|re|ve|m|ll|d)")  # don't: don, 't
NOT_SPACE = "\x1c\x1d\x1e\x1f"  # for Unicode, against Python


def letters() -> dict[str, int]:
    """The characters that stand for the bytes 0 to 255 in GPT-2's files.

    A byte that is a visible character of Latin-1 is itself; the others, the
    space among them, are those from 256 on.
    """
    ranges = (33, 127), (161, 173), (174, 256)
    shown = {b for low, high in ranges for b in range(low, high)}
    hidden = [b for b in range(256) if b not in shown]
    other = {chr(256 + i): b for i, b in enumerate(hidden)}
    return other | {chr(b): b for b in shown}


BYTES = letters()


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


class BytePairs:
    """A byte-level tokenizer, made from its pieces and the order of joints.

    `ids` is {piece: id}; `merges` is {(left, right): rank}, or None where a
    pair's rank is the id of what it makes. `special` is {text: id} of tokens
    that are not cut.

    Raises `ValueError` if a byte, or what a joint makes, has no id.
    """

    def __init__(
        self,
        ids: Mapping[bytes, int],
        merges: Mapping | None = None,
        special: Mapping[str, int] | None = None,
    ):
        self.ids, self.merges = dict(ids), merges
        self.special = dict(special or {})
        for pair in merges or {}:
            if len(pair) != 2:
                raise ValueError(f"merges: got {pair}, expected two pieces")
        for i in (*self.ids.values(), *self.special.values()):
            if type(i) is not int or i < 0:
                raise ValueError(f"ids: got {i!r}, expected 0 or more")
        made = map(b"".join, merges or {})
        for piece in (*(bytes([b]) for b in range(256)), *made):
            if piece not in self.ids:
                raise ValueError(f"ids: got no id for {piece}, expected one")
        self.pieces = {i: piece for piece, i in self.ids.items()}
        self.pieces |= {i: t.encode() for t, i in self.special.items()}
        self.known: dict[str, list[int]] = {}  # words met before

    @property
    def size(self) -> int:
        """One more than the largest id: the rows of an embedding."""
        return max(self.pieces) + 1

    def rank(self, left: bytes, right: bytes) -> int | None:
        """How early a pair is joined; None if never."""
        if self.merges is None:
            return self.ids.get(left + right)
        return self.merges.get((left, right))

    def join(self, word: bytes) -> list[bytes]:
        """The pieces of a word, the pair of lowest rank joined first."""
        if self.merges is None and word in self.ids:
            return [word]
        parts: list[bytes] = [bytes([b]) for b in word]
        end = len(parts)
        after = [*range(1, end + 1)]  # of each part the next one
        before = [*range(-1, end)]
        waiting: list[tuple[int, int]] = []

        def offer(i):
            if i >= 0 and after[i] < end:
                rank = self.rank(parts[i], parts[after[i]])
                if rank is not None:
                    heapq.heappush(waiting, (rank, i))

        for i in range(end):
            offer(i)
        while waiting:
            rank, i = heapq.heappop(waiting)
            j = after[i]
            gone = not parts[i] or j == end
            if gone or self.rank(parts[i], parts[j]) != rank:
                continue  # one of the two has been joined meanwhile
            parts[i], parts[j] = parts[i] + parts[j], b""
            after[i] = after[j]
            before[after[j]] = i
            offer(before[i])
            offer(i)
        return [part for part in parts if part]

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Ids of a text. A special token written in it is one id.

        With `special=False` it is text like any other: for what strangers
        write.
        """
        names = sorted(self.special, key=len, reverse=True)
        if not special or not names:
            return [i for word in split(text) for i in self.word(word)]
        found = []
        for part in re.split(f"({'|'.join(map(re.escape, names))})", text):
            if part in self.special:
                found.append(self.special[part])
            else:
                found += self.encode(part, special=False)
        return found

    def word(self, word: str) -> list[int]:
        """Ids of one word; a lone half of a surrogate pair becomes U+FFFD."""
        if word not in self.known:
            plain = word.encode("utf-16", "surrogatepass")
            plain = plain.decode("utf-16", "replace").encode()
            self.known[word] = [self.ids[p] for p in self.join(plain)]
        return self.known[word]

    def decode(self, ids: Iterable) -> str:
        """The text of some ids; bytes that are no UTF-8 become U+FFFD."""
        ids = list(map(int, ids))
        check_ids(ids, self.size)
        gone = [i for i in ids if i not in self.pieces]
        if gone:
            raise ValueError(f"ids: got {gone[0]}, which no piece has")
        return b"".join(self.pieces[i] for i in ids).decode(errors="replace")


def read_gpt2(folder: str | Path) -> BytePairs:
    """The tokenizer whose vocab.json and merges.txt lie in a folder.

    Raises `ValueError` naming the file that cannot be read or understood.
    """
    path = Path(folder) / VOCABULARY
    given = foreign.read_json(path)
    special = {t: i for t, i in given.items() if t == END_OF_TEXT}
    try:
        ids = {to_bytes(t): i for t, i in given.items() if t not in special}
        path = Path(folder) / MERGES
        lines = read(path).split("\n")  # not splitlines: pieces hold \x85
        lines = lines[lines[0].startswith("#version") :]
        pairs = (tuple(map(to_bytes, x.split(" "))) for x in lines if x)
        merges = {pair: i for i, pair in enumerate(pairs)}
        return BytePairs(ids, merges, special)
    except ValueError as error:
        raise named(path, error) from None


def read_tiktoken(
    path: str | Path, special: Mapping[str, int] | None = None
) -> BytePairs:
    """The tokenizer of a file of ranks; its special tokens are not in it."""
    lines = (line.split() for line in read(Path(path)).splitlines() if line)
    try:
        ids = {base64.b64decode(piece): int(i) for piece, i in lines}
        return BytePairs(ids, special=special)
    except ValueError as error:
        raise named(Path(path), error) from None


def named(path: Path, error: ValueError) -> ValueError:
    """An error that begins with the file to blame."""
    said = str(error)
    here = said.startswith(str(path))
    return error if here else ValueError(f"{path}: {said}")


def read(path: Path) -> str:
    """The text of a file in UTF-8; `ValueError` if there is none."""
    try:
        return path.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise foreign.unreadable(path, error) from None


def to_bytes(written: str) -> bytes:
    """The bytes that a piece of GPT-2's files stands for."""
    if not written or not BYTES.keys() >= set(written):
        raise ValueError(f"got {written!r}, expected characters for bytes")
    return bytes(BYTES[c] for c in written)
