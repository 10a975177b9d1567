"""Code as HTML with few elements: only what has a style of its own.

Names, punctuation and operators look like plain text, and words of one look
that follow each other are one element.
"""

import functools
from html import escape
from itertools import groupby

from pygments import lexers, token, util

# The styles of assets/book.css, each with the tokens that have it.
STYLES = {
    "k": ["k", "kd", "kn", "kp", "kr", "kt"],
    "ow": ["ow"],
    "s": ["s", "s1", "s2", "sa", "sb", "sc", "si", "ss", "l"],
    "sd": ["sd"],
    "se": ["se", "sh", "sr", "sx", "cp"],
    "m": ["m", "mb", "mf", "mh", "mi", "mo", "il"],
    "nb": ["nb", "bp", "no"],
    "nf": ["nf", "nc", "ne", "nn"],
    "nd": ["nd", "ni", "nl", "nt"],
    "c": ["c", "c1", "ch", "cm", "cs"],
    "gp": ["gp"],
    "go": ["go", "gr", "gt"],
}
STYLE_OF = {short: style for style, all_ in STYLES.items() for short in all_}


def html(code: str, language: str, marked=frozenset()) -> str:
    """Return code as HTML; `marked` are lines to stand out, counted from 1."""
    pieces = _merged(_styled(code, language))
    if not marked:
        return _spans(pieces)
    shown = [
        f'<span class="hll">{_spans(line)}</span>'
        if number in marked
        else _spans(line)
        for number, line in enumerate(_by_line(pieces), 1)
    ]
    return "".join(shown)


def _spans(pieces) -> str:
    return "".join(
        f'<span class="{style}">{escape(text, quote=False)}</span>'
        if style and text.strip()
        else escape(text, quote=False)
        for style, text in pieces
    )


@functools.cache
def _lexer(language: str):
    try:
        return lexers.get_lexer_by_name(language, stripnl=False)
    except util.ClassNotFound:
        return lexers.get_lexer_by_name("text", stripnl=False)


def _styled(code: str, language: str):
    """Yield the words of the code with the style of each, "" for none."""
    for kind, text in _lexer(language).get_tokens(code):
        yield STYLE_OF.get(_short(kind), ""), text


@functools.cache
def _short(kind) -> str:
    """Return the short name of a kind of token, or of the next wider one."""
    while kind not in token.STANDARD_TYPES:
        kind = kind.parent
    return token.STANDARD_TYPES[kind]


def _merged(pieces) -> list[tuple[str, str]]:
    """Join neighbours of one style, also across the spaces between them."""
    pieces = [
        (style if text.strip() else None, text) for style, text in pieces
    ]
    out = []
    for style, group in groupby(pieces, key=lambda piece: piece[0]):
        text = "".join(text for _, text in group)
        if out and (style is None or style == out[-1][0]):
            out[-1] = (out[-1][0], out[-1][1] + text)
        else:
            out.append((style or "", text))
    return out


def _by_line(pieces) -> list[list[tuple[str, str]]]:
    """Cut the pieces at the ends of lines, which stay at the end."""
    lines = [[]]
    for style, text in pieces:
        for row in text.splitlines(keepends=True):
            lines[-1].append((style, row))
            if row.endswith("\n"):
                lines.append([])
    return lines
