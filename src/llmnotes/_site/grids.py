"""The `grid` fence: a matrix of weights as a drawing of filled cells.

    ```grid
    grid: transformer/attention:masks
    x: key
    y: query
    value: weight
    by: mask
    alt: what the grids show, in words
    ```

`value` is between 0 (empty) and the largest of its grid (filled); there is
one grid per value of `by`, if given, and `where` picks some of them, as in a
results fence. The numbers follow in <details>.

With `marks: yes` the last word of each value of x and y stands at its column
and row: of "3 e" the e.
"""

from html import escape

from llmnotes._site import charts, fences, tables
from llmnotes._site.page import PageError, page_of

CELL = 16
NEEDED = {"grid", "x", "y", "value", "alt"}
OPTIONS = NEEDED | {"by", "caption", "format", "marks", "where"}
OPTIONS |= {"prediction", "outcome"}  # as of the results fence


def fence(source, language, css_class, options, md, **_):
    """Render the fence, as pymdownx.superfences asks for it."""
    page = page_of(md)
    reference = "grid fence"
    try:
        given = fences.options(source, OPTIONS, NEEDED)
        reference = given["grid"]
        result = charts.load(page, reference)
        body = _figure(page, result, given)
        return charts.surround(page, md, reference, result, given, body)
    except PageError:
        raise
    except Exception as error:  # superfences swallows what is not its own
        raise page.error(f"{reference}: {error}") from None


def _figure(page, result: dict, given: dict) -> str:
    pictures, data = [], []
    for name in _names(result, given):
        picked = [given.get("where", "")]
        picked += [f"{given['by']}={name}"] if name else []
        where = ", ".join(filter(None, picked))
        columns, rows = _matrix(result, given, where)
        title = f"<span>{escape(name)}</span>" if name else ""
        marks = _marks(columns, rows) if given.get("marks") == "yes" else ""
        picture = svg([r[1:] for r in rows], marks)
        pictures.append(f"<div>{title}{picture}</div>")
        form = given.get("format", ".2g")
        forms = {c["name"]: form for c in columns[1:]}
        words = f"{result['title']}: {name}" if name else result["title"]
        data.append(tables.table(columns, rows, words, forms))
    caption = tables.prose(given.get("caption", result["title"]))
    return (
        f'<figure class="chart"><div class="grids" role="img" '
        f'aria-label="{escape(given["alt"])}">{"".join(pictures)}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
        + charts.below(page, given["grid"], result, "".join(data))
    )


def _names(result: dict, given: dict) -> list[str]:
    if "by" not in given:
        return [""]
    column = tables.column(result, given["by"])
    rows = tables.rows_where(result, given.get("where", ""))
    return list(dict.fromkeys(str(row[column]) for row in rows))


def _matrix(result: dict, given: dict, where: str):
    """Return the columns and rows of one grid: a row per value of y."""
    keys = (given["y"], given["x"], given["value"])
    columns, rows = tables.pivot(result, *keys, where, {})
    top = {**columns[0], "label": f"{given['y']} \\ {given['x']}"}
    return [top, *columns[1:]], rows


def _marks(columns: list, rows: list) -> str:
    """Return the last words of the labels as text above and to the left."""
    across = [str(c["name"]).split()[-1] for c in columns[1:]]
    down = [str(row[0]).split()[-1] for row in rows]
    middle = CELL // 2
    texts = [
        (i * CELL + middle, -5, "middle", t) for i, t in enumerate(across)
    ]
    texts += [(-6, i * CELL + 12, "end", t) for i, t in enumerate(down)]
    return "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(t)}</text>'
        for x, y, anchor, t in texts
    )


def svg(weights: list[list[float | None]], marks: str = "") -> str:
    """Return one grid as an <svg>; the figure around it has the words.

    A cell without a weight (None) stays empty.
    """
    weights = [[weight or 0 for weight in row] for row in weights]
    high = max(max(row) for row in weights) or 1
    width, height = CELL * len(weights[0]), CELL * len(weights)
    cells = "".join(
        f'<rect x="{j * CELL + 1}" y="{i * CELL + 1}" width="{CELL - 2}" '
        f'height="{CELL - 2}" fill="var(--c1)" '
        f'fill-opacity="{weight / high:.2f}"/>'
        for i, row in enumerate(weights)
        for j, weight in enumerate(row)
        if weight / high > 0.005
    )
    lines = "".join(f"M{x} 0V{height}" for x in range(0, width + 1, CELL))
    lines += "".join(f"M0 {y}H{width}" for y in range(0, height + 1, CELL))
    left, top = (30, 18) if marks else (1, 1)
    wide, tall = width + left + 1, height + top + 1
    return (
        f'<svg viewBox="{-left} {-top} {wide} {tall}" width="{wide}" '
        f'height="{tall}" aria-hidden="true"><path d="{lines}" '
        'stroke="currentColor" stroke-opacity=".25" fill="none"/>'
        f'{cells}<g fill="currentColor" font-size="12">{marks}</g></svg>'
    )
