"""The map of the book, drawn twice from the same data as inline SVG.

wide    = one band per part, one box per chapter, for a desk
narrow  = one line per chapter, arcs on the right, for a phone

A style sheet shows one of them. An edge runs from a chapter to one that
builds on it; edges that follow from two others are left out. It is drawn in
the link of the chapter where it ends, and seen while that is pointed at.
Chapters that are coming are dashed and are no links.
"""

from html import escape

from llmnotes._site.book import Chapter, Graph

BOX, TALL, GAP_X, GAP_Y, MARGIN = 106, 42, 9, 36, 116  # of the wide map
TEXT_AT, DOT_AT, NARROW = 10, 196, 340  # of the narrow map
PART, WRITTEN, COMING = 30, 30, 21  # heights of its lines


def edges(graph: Graph) -> list[tuple[str, str]]:
    """Return (chapter, what builds on it) without what follows from others."""
    found = []
    for key in graph.chapters:
        direct = graph.builds_on(key)
        implied = {far for near in direct for far in _below(graph, near)}
        found += [(other, key) for other in direct if other not in implied]
    return found


def _below(graph: Graph, key: str) -> set[str]:
    """Return all chapters that a chapter rests on, near and far."""
    found, queue = set(), [key]
    while queue:
        for other in graph.builds_on(queue.pop()):
            if other not in found:
                found.add(other)
                queue.append(other)
    return found


def parts(graph: Graph) -> dict[str, list[Chapter]]:
    """Return the chapters of each part, in reading order."""
    found = {}
    for chapter in graph.chapters.values():
        found.setdefault(chapter.part, []).append(chapter)
    return found


def wide(graph: Graph, href) -> str:
    """Draw the map for a desk; `href(chapter)` is its address or None."""
    places, labels = {}, []
    for row, (part, chapters) in enumerate(parts(graph).items()):
        y = GAP_Y / 2 + row * (TALL + GAP_Y)
        labels.append(_text(0, y + TALL / 2, part.capitalize(), "part"))
        for i, chapter in enumerate(chapters):
            places[chapter.key] = (MARGIN + i * (BOX + GAP_X), y)
    below = _ending(graph, lambda a, b: _edge(*places[a], *places[b]))
    nodes = "".join(
        _node(
            graph.chapters[key],
            href,
            _box(graph.chapters[key], x, y) + below.get(key, ""),
        )
        for key, (x, y) in places.items()
    )
    columns = max(map(len, parts(graph).values()))
    width = MARGIN + columns * (BOX + GAP_X)
    height = len(labels) * (TALL + GAP_Y)
    return _svg("map-wide", width, height, "".join(labels) + nodes)


def _ending(graph: Graph, draw) -> dict[str, str]:
    """Return the edges that end in each chapter, drawn."""
    found = {}
    for a, b in edges(graph):
        found[b] = found.get(b, "") + draw(a, b)
    return found


def _edge(ax, ay, bx, by) -> str:
    """Run down from one box to another, or below the boxes of one band."""
    ax, bx, bottom = ax + BOX / 2, bx + BOX / 2, ay + TALL
    if ay == by:
        deep = bottom + GAP_Y * 0.6
        path = f"M{ax} {bottom}C{ax} {deep} {bx} {deep} {bx} {bottom}"
    else:
        bend = min(60, (by - bottom) / 2)
        path = (
            f"M{ax} {bottom}C{ax} {bottom + bend} {bx} {by - bend} {bx} {by}"
        )
        bottom = by
    return _line(path) + _dot(bx, bottom)


def _line(path: str) -> str:
    return (
        f'<path class="edge" d="{path}" fill="none" stroke="currentColor" '
        'stroke-opacity=".55" stroke-width="1.2"/>'
    )


def _dot(x, y) -> str:
    return f'<circle class="edge" cx="{x}" cy="{y}" r="2.6"/>'


def _box(chapter: Chapter, x, y) -> str:
    dashed = "" if chapter.written else ' stroke-dasharray="4 3"'
    words = _two_lines(chapter.title)
    text = "".join(
        _text(x + BOX / 2, y + TALL / 2 + 15 * (i - (len(words) - 1) / 2), w)
        for i, w in enumerate(words)
    )
    return (
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{TALL}" rx="5" '
        'fill="var(--md-default-bg-color)" fill-opacity="1" '
        f'stroke="currentColor"{dashed}/>'
        f'<g text-anchor="middle">{text}</g>'
    )


def _two_lines(title: str) -> list[str]:
    """Break a long title at the space nearest to its middle."""
    spaces = [i for i, letter in enumerate(title) if letter == " "]
    if len(title) <= 14 or not spaces:
        return [title]
    at = min(spaces, key=lambda i: abs(i - len(title) / 2))
    return [title[:at], title[at + 1 :]]


def _text(x, y, words: str, kind: str = "") -> str:
    kind = f' class="{kind}" font-weight="bold"' if kind else ""
    return (
        f'<text{kind} x="{x}" y="{y}" dominant-baseline="central">'
        f"{escape(words)}</text>"
    )


def _node(chapter: Chapter, href, inside: str) -> str:
    url = href(chapter)
    if url is None:
        return (
            '<g class="node coming" fill-opacity=".75" stroke-opacity=".6">'
            f"<title>{escape(chapter.title)}: coming</title>{inside}</g>"
        )
    return f'<a class="node" href="{url}">{inside}</a>'


def narrow(graph: Graph, href) -> str:
    """Draw the map for a phone."""
    places, out, rows, y = {}, [], [], 0
    for part, chapters in parts(graph).items():
        y += PART
        out.append(_text(0, y - PART / 2 + 3, part.capitalize(), "part"))
        for chapter in chapters:
            high = WRITTEN if chapter.written else COMING
            places[chapter.key] = y + high / 2
            rows.append((chapter, _row(chapter, y, high)))
            y += high
    below = _ending(graph, lambda a, b: _arc(places[a], places[b]))
    out += [_node(c, href, row + below.get(c.key, "")) for c, row in rows]
    return _svg("map-narrow", NARROW, y + 8, "".join(out))


def _row(chapter: Chapter, y, high) -> str:
    """A line of text, a place to tap and a dot for the arcs."""
    dashed = ' stroke-dasharray="2 2" fill="none"'
    return (
        f'<rect x="0" y="{y}" width="{DOT_AT + 8}" height="{high}" '
        'fill="transparent"/>'
        + _text(TEXT_AT, y + high / 2, chapter.title)
        + f'<circle cx="{DOT_AT}" cy="{y + high / 2}" r="4" '
        f'stroke="currentColor"{"" if chapter.written else dashed}/>'
    )


def _arc(a, b) -> str:
    out = DOT_AT + min(NARROW - DOT_AT - 4, 30 + (b - a) * 0.4) * 4 / 3
    x = DOT_AT + 5
    return _line(f"M{x} {a}C{out} {a} {out} {b} {x} {b}") + _dot(x, b)


def _svg(kind: str, width, height, inside: str) -> str:
    size = 13 if kind == "map-wide" else 14
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="group" '
        f'aria-label="Map of the book" font-size="{size}" '
        f'fill="currentColor" style="font-family:inherit">{inside}</svg>'
    )
