"""Fences of a Markdown text, and the options that stand in some of them.

block   = the lines of one fence, or of the text between two fences
options = lines `name: value`; an indented line goes on with the last
"""

import re
from dataclasses import dataclass, field

FENCE = re.compile(r"(?P<pad>[ \t>]*)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)")


@dataclass
class Block:
    """The lines of one fence, or of the text between two fences."""

    opening: re.Match | None = None
    lines: list[str] = field(default_factory=list)
    closing: str | None = None

    @property
    def language(self) -> str:
        """The word after the ticks; "" without one, and between fences."""
        info = self.opening["info"] if self.opening else ""
        return info.strip().partition(" ")[0]

    def body(self) -> str:
        """Return the lines without what is in front of the whole fence."""
        pad = self.opening["pad"] if self.opening else ""
        return "\n".join(line.removeprefix(pad) for line in self.lines)

    def text(self) -> str:
        """Return the block as it stands on the page."""
        first = [self.opening[0]] if self.opening else []
        last = [] if self.closing is None else [self.closing]
        return "\n".join([*first, *self.lines, *last])


def blocks(lines):
    """Yield the fences of a Markdown text and what lies between them."""
    block = Block()
    for line in lines:
        m = FENCE.fullmatch(line)
        if block.opening is None and m:
            yield block
            block = Block(opening=m)
        elif m and m[0].strip("> \t") == block.opening["ticks"]:
            block.closing = line
            yield block
            block = Block()
        else:
            block.lines.append(line)
    yield block


def options(source: str, known: set[str], needed=()) -> dict[str, str]:
    """Read options; `LookupError` names one that is unknown or missing."""
    found, last = {}, None
    for line in filter(str.strip, source.splitlines()):
        name, colon, value = line.partition(":")
        if line[0].isspace() and last:  # a long value goes on
            found[last] += " " + line.strip()
        elif colon and name.strip() in known:
            last = name.strip()
            found[last] = value.strip()
        else:
            names = ", ".join(sorted(known))
            raise LookupError(f"unknown option {line!r}; one of {names}")
    if missing := set(needed) - found.keys():
        raise LookupError(f"missing {', '.join(sorted(missing))}")
    return found
