"""A notebook that has run, as Markdown.

A picture becomes a figure in the colours of the page; its cell says in words
what it shows: `# %% alt="…"`. Notebooks draw in COLOURS, which are readable
on white and become the page's own.
"""

import re
from html import unescape

from llmnotes._site import svgs

COLOURS = {
    "#808080": svgs.INK,
    "#0072b2": svgs.SERIES[0],
    "#d55e00": svgs.SERIES[1],
    "#009e73": svgs.SERIES[2],
    "#cc79a7": svgs.SERIES[3],
    "#e69f00": svgs.SERIES[4],
}
SVG = "image/svg+xml"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
FIGURE = '<figure class="chart plot"'


class CellError(ValueError):
    """A cell gives what the page cannot show."""


def markdown(notebook, name: str) -> str:
    """Return the page of an executed notebook, whose file is `name`.py."""
    parts = []
    for number, cell in enumerate(notebook["cells"], 1):
        if cell["cell_type"] == "markdown":
            parts.append(cell["source"])
        elif cell["source"].strip():
            parts.append(fence("python", cell["source"]))
            parts += _shown(cell, f"{name}-{number}")
    title, _, rest = "\n\n".join(parts).partition("\n")
    if not title.startswith("# "):
        raise CellError("a notebook needs a title: a first line `# …`")
    return f"{title}\n\n{_files(name)}\n{rest}\n"


def _files(name: str) -> str:
    """Links to the two files; as HTML, since no source has these names."""
    links = " or ".join(
        f'<a href="{name}.{suffix}" download>{words}</a>'
        for suffix, words in (("ipynb", "notebook"), ("py", "script"))
    )
    return f'<p class="files" data-search-exclude>Download as {links}.</p>\n'


def fence(language: str, body: str) -> str:
    """Return a fenced block with ticks enough for what it holds."""
    longest = max(map(len, re.findall(r"`{3,}", body)), default=2)
    ticks = "`" * (longest + 1)
    return f"{ticks}{language}\n{body.rstrip()}\n{ticks}"


def _shown(cell, identity: str) -> list[str]:
    """Return text fences and figures; neighbouring texts are one fence."""
    parts, text = [], ""
    for output in (o for o in cell["outputs"] if not _aside(o)):
        data = output.get("data", {})
        if SVG in data:
            parts += [fence("text", text)] if text.strip() else []
            parts.append(_figure(cell, _joined(data[SVG]), identity))
            text = ""
        else:
            text += _joined(output.get("text", data.get("text/plain", "")))
    return parts + ([fence("text", plain(text))] if text.strip() else [])


def _joined(text: str | list[str]) -> str:
    """Notebook files may hold a text as a list of its lines."""
    return text if isinstance(text, str) else "".join(text)


def _figure(cell, svg: str, identity: str) -> str:
    alt = cell["metadata"].get("alt")
    if not alt:
        raise CellError('a cell that draws needs words: `# %% alt="…"`')
    for mine, stand_in in COLOURS.items():
        svg = svg.replace(mine, stand_in)
    drawn = svgs.clean(svg, identity, alt)
    return f"{FIGURE} data-search-exclude>{drawn}</figure>"


def plain(text: str) -> str:
    """Return a text without the colours of a terminal."""
    return ANSI.sub("", text)


def in_words(page: str) -> str:
    """Return the Markdown of a page with words in the place of figures."""
    return re.sub(
        f'{FIGURE}.*?aria-label="(.*?)".*?</figure>',
        lambda m: f"Figure: {unescape(m[1])}.",
        page,
        flags=re.S,
    )


def tidy(notebook):
    """Drop what differs from run to run: ids, times and warnings."""
    for number, cell in enumerate(notebook["cells"], 1):
        cell["id"] = f"cell-{number}"
        cell["metadata"].pop("execution", None)
        if "outputs" in cell:
            cell["outputs"] = [o for o in cell["outputs"] if not _aside(o)]
    return notebook


def _aside(output) -> bool:
    """Whether it went to stderr: warnings, with paths of this machine."""
    return output.get("name") == "stderr"
