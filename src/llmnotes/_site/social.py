"""The picture that stands for a page where it is linked, and the icons.

card  = 1200 × 630 PNG: title, part and description, with the book's sign
icon  = the sign of docs/assets/favicon.svg as PNG, for what reads no SVG

Every page of the book has a card of its own, named in its metadata under
`card`; overrides/main.html puts it into the head. The others share that of
the home page, which also brings the icons. Cards are drawn by matplotlib and
kept between builds.
"""

import base64
import io
import textwrap
from pathlib import Path

from markdown import Extension
from markdown.treeprocessors import Treeprocessor
from mkdocs.structure.files import File, InclusionLevel

from llmnotes._site.book import book, number, parts
from llmnotes._site.kept import kept
from llmnotes._site.page import Page, page_of

WIDE, HIGH = 1200, 630
PAPER, INK, SOFT, ACCENT = "#fdfcf9", "#22201d", "#665f56", "#9a2f1c"
ICONS = 48, 180  # the second is Apple's, for a phone's home screen
HOME = "index.md"


class SocialTreeprocessor(Treeprocessor):
    """Lay the card of a page, and with the home page the icons."""

    def run(self, root):
        """Change nothing in the page."""
        page = page_of(self.md)
        words = words_of(page)
        if not words or page.files is None:
            return
        name = page.uri.removesuffix(".md").replace("/", "-")
        uri = f"assets/cards/{name}.png"
        _lay(page, uri, _kept(page.root, card, *words))
        file = page.files.get_file_from_path(page.uri)
        file.page.meta["card"] = uri
        if page.uri == HOME:
            for size in ICONS:
                drawn = _kept(page.root, icon, size)
                _lay(page, f"assets/icon-{size}.png", drawn)


def words_of(page: Page) -> tuple[str, str, str] | None:
    """Return title, line above and line below; None: the page has no card."""
    chapters = book(page.root) if page.files else {}
    part = page.uri.partition("/")[0]
    if page.uri == HOME:
        name = str(page.config.get("site_name") or "")
        about = page.config.get("site_description") or ""
        return name, "", about
    if page.chapter in chapters:
        chapter = chapters[page.chapter]
        above = f"{part.capitalize()} · chapter {number(chapter)}"
        return chapter.title, above, page.description
    if page.uri == f"{part}/{HOME}" and part in parts(page.root):
        return part.capitalize(), "A part of the book", page.description
    return None


def _kept(root: Path, draw, *given) -> bytes:
    source = Path(__file__).read_text(encoding="utf-8")
    key = (draw.__name__, given, source)
    text = kept(root, key, lambda: base64.b64encode(draw(*given)).decode())
    return base64.b64decode(text)


def _lay(page: Page, uri: str, content: bytes) -> None:
    if page.exists(uri):
        return
    file = File.generated(page.config, uri, content=content)
    file.inclusion = InclusionLevel.INCLUDED
    page.files.append(file)


def card(title: str, above: str, below: str) -> bytes:
    """Draw a card; coordinates are pixels from the lower left corner."""
    figure, axes = _canvas(WIDE, HIGH)
    _sign(axes, 80, 508, 16, ACCENT)
    written = {"color": INK, "weight": "bold", "family": "serif"}
    axes.text(145, 508, "llmnotes", size=26, **written)
    _mask(axes, 878, 106, 34, 7)
    axes.text(80, 430, above, size=19, color=SOFT)
    lines = textwrap.wrap(title, 20)[:3]
    size = 62 if len(lines) == 1 else 46
    axes.text(
        *(80, 400, "\n".join(lines)),
        **{"size": size, "va": "top", **written},
    )
    axes.text(
        *(80, 80, "\n".join(textwrap.wrap(below, 52)[:4])),
        **{"size": 18, "color": SOFT, "va": "bottom", "linespacing": 1.4},
    )
    return _png(figure)


def icon(size: int) -> bytes:
    """Draw the sign on paper, as large as the icon allows."""
    figure, axes = _canvas(size, size)
    _sign(axes, size * 0.14, size * 0.14, size * 0.24, ACCENT)
    return _png(figure)


def _canvas(width: int, height: int):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width / 100, height / 100), dpi=100, facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return figure, axes


def _sign(axes, x: float, y: float, side: float, colour: str) -> None:
    """The causal mask of three tokens, as in the favicon."""
    for row in range(3):
        for column in range(row + 1):
            left, low = x + column * side, y + (2 - row) * side
            _square(axes, left, low, side * 0.9, colour, 1)


def _mask(axes, x: float, y: float, side: float, tokens: int) -> None:
    """A larger one, fading towards the past."""
    for row in range(tokens):
        for column in range(row + 1):
            low = y + (tokens - 1 - row) * side
            strength = 0.25 + 0.75 * 0.75 ** (row - column)
            left = x + column * side
            _square(axes, left, low, side * 0.9, ACCENT, strength)


def _square(axes, x, y, side, colour, alpha) -> None:
    from matplotlib.patches import Rectangle

    look = {"facecolor": colour, "alpha": alpha, "linewidth": 0}
    axes.add_patch(Rectangle((x, y), side, side, **look))


def _png(figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=PAPER)
    return out.getvalue()


class SocialExtension(Extension):
    """Markdown extension `llmnotes._site.social`."""

    def extendMarkdown(self, md):
        """Register anywhere: it reads and writes no part of the page."""
        md.treeprocessors.register(
            SocialTreeprocessor(md), "llmnotes-social", 1
        )


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return SocialExtension(**options)
