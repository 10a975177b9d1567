"""Signs that all diagrams share: one colour for one thing, one sign each.

rail     = the residual stream, which sublayers read from and add to
plus     = where something is added to what was there
cells    = a matrix, drawn to scale
mask     = who sees whom: a filled cell says that the row sees the column
flow     = a belt as wide as the number it carries
gate     = a valve across a belt, open by as much as it lets through
fan      = a line from each of some places to each of others
"""

import contextlib

from mkdocs.utils import get_relative_url

from llmnotes._site.figures.fence import rows as rows_of
from llmnotes._site.figures.pen import Pen
from llmnotes._site.page import Page
from llmnotes._site.sources import source_of

QUERY, KEY, VALUE, MEMORY = "c1", "c2", "c3", "c4"
MLP, STREAM = "c5", "c6"
MASKS = "transformer/attention:masks"


def count(number: float) -> str:
    """Return a whole number as the page writes it."""
    return f"{number:,d}"


def short(number: float, digits: int = 3) -> str:
    """Return a number without zeros at its end."""
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def code(page: Page, symbol: str) -> str | None:
    """Return the address of the lines of `module:name`, seen from the page.

    Raises `LookupError` if there is no such symbol.
    """
    module, _, name = symbol.partition(":")
    source = source_of(page.root, f"llmnotes.{module}", name)
    lines = f"L{source.first}-L{source.last}"
    url = page.source_url(source.path.as_posix(), lines)
    if url is None or "://" in url:
        return url
    here = page.files.get_file_from_path(page.uri).url
    return get_relative_url(f"source/{source.path.as_posix()}.txt", here)


def linked(pen: Pen, page: Page, symbol: str):
    """Make a link to the code of what is drawn meanwhile, if there is one."""
    url = code(page, symbol) if symbol else None
    if url is None:
        return contextlib.nullcontext(pen)
    return pen.link(url, f"Code of {symbol.partition(':')[2]}")


def plus(pen: Pen, x: float, y: float, kind: str = "") -> None:
    """A sum: a circle with a cross."""
    pen.dot(x, y, 9, f"{kind} ring")
    pen.line(x - 5, y, x + 5, y, kind)
    pen.line(x, y - 5, x, y + 5, kind)


def rail(pen: Pen, x: float, top: float, bottom: float) -> None:
    """The residual stream, downwards."""
    pen.line(x, top, x, bottom, f"{STREAM} rail")


def cells(pen, x, y, rows, columns, size, kind="", cut=0) -> None:
    """A matrix to scale; with `cut`, a gap before every so many columns."""
    wide = cut or columns
    for i, first in enumerate(range(0, columns, wide)):
        at = x + first * size + i * (2 if cut else 0)
        pen.put(
            "rect", f"box {kind}", x=at, y=y,
            width=wide * size, height=rows * size,
        )  # fmt: skip


def ruled(pen, x, y, rows, columns, size, kind="") -> None:
    """A matrix in which every number has its own cell."""
    cells(pen, x, y, rows, columns, size, kind)
    across = "".join(
        f"M{x} {y + i * size:g}h{columns * size:g}" for i in range(1, rows)
    )
    down = "".join(
        f"M{x + i * size:g} {y}v{rows * size:g}" for i in range(1, columns)
    )
    pen.path(across + down, "cell")


def bend(pen, x1, y1, x2, y2, kind="") -> None:
    """A line that leaves downwards and arrives downwards."""
    mid = (y1 + y2) / 2
    pen.path(
        f"M{x1:g} {y1:g}C{x1:g} {mid:g} {x2:g} {mid:g} {x2:g} {y2:g}", kind
    )


def mask(pen, x, y, seen: list[list], size=5.0, kind=QUERY) -> None:
    """Who sees whom, as a thumbnail."""
    high, wide = len(seen) * size, len(seen[0]) * size
    for i, row in enumerate(seen):
        for first, last in _runs(row):
            pen.put(
                "rect", f"{kind} solid bare",
                x=x + first * size, y=y + i * size,
                width=(last - first) * size, height=size,
                shape_rendering="crispEdges",
            )  # fmt: skip
    pen.put("rect", "", x=x, y=y, width=wide, height=high)


def _runs(row: list) -> list[tuple[int, int]]:
    """Return where filled cells begin and end: one mark for neighbours."""
    edges = [i for i in range(len(row) + 1) if _at(row, i) != _at(row, i - 1)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _at(row: list, i: int) -> bool:
    return 0 <= i < len(row) and bool(row[i])


def fan(pen, above, y1, below, y2, kind="") -> None:
    """A line from each of these places to each of those, as one mark."""
    lines = (f"M{a:g} {y1:g}L{b:g} {y2:g}" for a in above for b in below)
    pen.path("".join(lines), kind)


def shades(pen, x, y, cells, size, kind="") -> None:
    """A triangle of cells, as dark as their share of the row's largest."""
    by_shade = {}
    for i, row in enumerate(cells):
        for j, weight in enumerate(row[: i + 1]):
            shade = f"{weight / max(row):.2f}"
            place = f"M{x + j * size:g} {y + i * size:g}h{size:g}v{size:g}"
            by_shade.setdefault(shade, []).append(f"{place}h-{size:g}z")
    for shade, places in by_shade.items():
        more = {"fill_opacity": shade, "shape_rendering": "crispEdges"}
        pen.path("".join(places), f"{kind} solid bare", **more)


def flow(pen, x1, y1, w1, x2, y2, w2, kind=MEMORY) -> None:
    """A belt from one place to another, from one width to another."""
    mid = (x1 + x2) / 2
    upper = f"M{x1} {y1 - w1 / 2}C{mid} {y1 - w1 / 2} {mid} {y2 - w2 / 2} "
    lower = f"L{x2} {y2 + w2 / 2}C{mid} {y2 + w2 / 2} {mid} {y1 + w1 / 2} "
    pen.path(
        f"{upper}{x2} {y2 - w2 / 2}{lower}{x1} {y1 + w1 / 2}Z", f"{kind} flow"
    )


def upright(pen, x, y1, y2, width, kind) -> None:
    """A belt straight up or down."""
    pen.path(
        f"M{x - width / 2:.1f} {y1:g}V{y2:g}h{width:.1f}V{y1:g}Z",
        f"{kind} flow",
    )


def turn(pen, x1, y1, x2, y2, width, kind=MEMORY) -> None:
    """A belt that leaves up or down and arrives sideways."""
    half = width / 2 if x2 > x1 else -width / 2
    far = half if y2 > y1 else -half
    pen.path(
        f"M{x1 - half:.1f} {y1:g}Q{x1 - half:.1f} {y2 + far:.1f} {x2:g} "
        f"{y2 + far:.1f}V{y2 - far:.1f}Q{x1 + half:.1f} {y2 - far:.1f} "
        f"{x1 + half:.1f} {y1:g}Z",
        f"{kind} flow",
    )


def gate(pen, x, y, width, share, across=True) -> None:
    """A valve: what is solid is closed. The open side is right or below.

    `across` a belt that runs sideways, else across one that runs upright.
    """
    shut, edge = width * (1 - share), 9
    for low, high in ((-edge, shut), (width, width + edge)):
        start = low - width / 2
        place = (x - 3.5, y + start, 7, high - low)
        if not across:
            place = (x + start, y - 3.5, high - low, 7)
        sizes = zip(("x", "y", "width", "height"), place, strict=True)
        pen.put("rect", "solid bare", rx=1.5, **dict(sizes))


def seen(page: Page, name: str) -> list[list]:
    """Return a mask of the attention chapter as rows of cells."""
    found = (r for r in rows_of(page, MASKS) if r["mask"] == name)
    return matrix(found, "query", "key", "weight")


def matrix(found, down: str, across: str, value: str) -> list[list]:
    """Return rows of a result as the cells of a square."""
    at = {(r[down], r[across]): r[value] for r in found}
    side = range(1 + max(i for i, _ in at))
    return [[at[i, j] for j in side] for i in side]
