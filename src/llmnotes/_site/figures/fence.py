"""The `figure` fence: a drawing made by a function.

    ```figure
    draw: attention:lookup
    alt: what it shows, in words (required)
    caption: the point of the figure (required)
    ```

`attention:lookup` is the function `lookup` of the module
`llmnotes._site.figures.attention`. It is given the page and returns a
`Drawing`; its numbers come from result files, read with `rows`, or are the
picture's own measures.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator

from llmnotes._site import charts, fences, figures, tables
from llmnotes._site.figures import drawn
from llmnotes._site.page import Page, PageError, page_of

OPTIONS = {"draw", "alt", "caption"}


def fence(source, language, css_class, options, md, **_):
    """Render the fence, as pymdownx.superfences asks for it."""
    page = page_of(md)
    name = "figure fence"
    try:
        given = fences.options(source, OPTIONS, OPTIONS)
        name = given["draw"]
        drawing = function(name)(page)
        words = given["alt"], tables.prose(given["caption"])
        return drawn.html(drawing, name, *words) + _numbers(page, drawing)
    except PageError:
        raise
    except Exception as error:  # superfences would swallow it
        raise page.error(f"figure {name}: {error}") from None


def _numbers(page: Page, drawing: drawn.Drawing) -> str:
    """Return the fold below a figure: every result that it draws."""
    found = [charts.load(page, reference) for reference in drawing.reads]
    if not found:
        return ""
    shown = "".join(
        tables.table(*tables.selection(result, [], ""), result["title"], {})
        for result in found
    )
    return charts.below(page, drawing.reads[0], found[0], shown)


def function(name: str) -> Callable[[Page], drawn.Drawing]:
    """Return what draws `module:function`; `LookupError` names the others."""
    module, _, wanted = name.partition(":")
    known = sorted(m.name for m in pkgutil.iter_modules(figures.__path__))
    if module not in known or not wanted.isidentifier():
        raise LookupError(
            f"no module of figures {module!r}; one of {', '.join(known)}"
        )
    found = importlib.import_module(f"{figures.__name__}.{module}")
    draws = getattr(found, wanted, None)
    if not callable(draws) or draws.__module__ != found.__name__:
        raise LookupError(f"no drawing {wanted!r} in {found.__name__}")
    return draws


def rows(page: Page, reference: str) -> Iterator[dict]:
    """Yield the rows of the result `part/slug:name`, as {column: value}."""
    result = charts.load(page, reference)
    names = [column["name"] for column in result["columns"]]
    for row in result["rows"]:
        yield dict(zip(names, row, strict=True))
