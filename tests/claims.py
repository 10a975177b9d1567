"""What pages say about results, held against the result files.

A sentence such as "attention loses" cannot be written by reference, as the
numbers in it are; so a test quotes it, and asserts that the file says so:

    def test_attention_loses_on_short_texts():
        loss = claimed("transformer/gpt_recurrent:losses", "GPT is behind")
        assert loss("loss", model="GRU") < ...

When numbers change, the sentence whose claim fails is to be written anew; when
a sentence changes, its claim is to be read again.
"""

import functools
import re
from pathlib import Path

from llmnotes._site import results

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PYTHON = re.compile(r"```python\n.*?```", re.DOTALL)


class Claim:
    """A result's table, to be asked for cells."""

    def __init__(self, result):
        self.names = [column["name"] for column in result["columns"]]
        self.rows = [
            dict(zip(self.names, row, strict=True)) for row in result["rows"]
        ]

    def every(self, column, **where):
        """The cells of a column in all rows that meet the conditions."""
        unknown = {column, *where} - set(self.names)
        if unknown:
            raise LookupError(f"no column {unknown}; it has {self.names}")
        return [
            row[column]
            for row in self.rows
            if all(row[name] == value for name, value in where.items())
        ]

    def __call__(self, column, **where):
        """The cell of the only row that meets the conditions."""
        found = self.every(column, **where)
        if len(found) != 1:
            raise LookupError(f"{len(found)} rows where {where}, expected 1")
        return found[0]


def claimed(reference, *sentences, docs=DOCS):
    """The result `part/slug:name`, of which pages say these sentences."""
    texts = prose(docs)
    for sentence in sentences:
        words = plain(sentence)
        assert any(words in text for text in texts), (
            f"no page says {words!r} any more: see whether what it says now "
            "is still true, and quote that"
        )
    return Claim(results.load(reference, docs / "results"))


@functools.cache
def prose(docs):
    """All pages as one line each, without their code: that quotes, too."""
    texts = [path.read_text("utf-8") for path in sorted(docs.rglob("*.md"))]
    return [plain(PYTHON.sub("", text)) for text in texts]


def plain(text):
    """A text in one line and without emphasis."""
    return " ".join(text.replace("*", "").split())
