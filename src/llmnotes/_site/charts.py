"""The `results` fence: a result file as a chart, a table or a listing.

    ```results
    chart: kernels/attention_speed:forward
    x: n
    y: seconds
    by: method
    scale: log-log
    alt: what the chart shows, in words
    ```

What to show, each a reference `part/slug:name`: `chart`, `table` (both may
be given), `text` (columns as a listing); or `overview: part/slug` for all
results of a chapter. A chart without a table carries its data in <details>.

    x, y, by   columns; a table with all three has one column per `by`
    spread     two columns, `lowest, highest`: a band around each line
    columns    the columns of a table or listing, in this order
    where      rows: column=value, or column=a|b; several after commas
    labels     words for values of `by` (of `x` in a bar chart): a=word, …
    kind       line (default), scatter or bar;  lines: series of a scatter
               that are drawn as plain lines (a roof, a bound)
    scale      linear-linear (default), log-log, log-linear, linear-log
    format     of table columns: seconds=si, error=.1e
    best       min or max of each row where there is a `by`; else
               `min column`, `min column per other`
    alt        what the chart shows, in words (required for a chart)
    caption    the point of the figure; else the result's title
    prediction  show (the question, above), fold (below, under the outcome)
               or none; else none of what is exact, and fold
    outcome    how the prediction came out, in one line
"""

import hashlib
from pathlib import Path

from llmnotes._site import drawing, fences, provenance, results, svgs, tables
from llmnotes._site.kept import kept
from llmnotes._site.page import PageError, page_of

SHOWS = ("overview", "chart", "table", "text")
OPTIONS = {
    *SHOWS,
    *("x", "y", "by", "spread", "columns", "where", "labels", "kind", "lines"),
    *("scale", "format", "best", "alt", "caption"),
    *("prediction", "outcome"),
}
PREDICTIONS = ("show", "fold", "none")
SCALES = {f"{a}-{b}" for a in ("linear", "log") for b in ("linear", "log")}
LONG = 100  # rows; more are a listing on the results page
MANY = 300  # cells below a figure; more are a link to the results page
MOST = 6  # series in one chart: as many as there are colours


def fence(source, language, css_class, attributes, md, **_):
    """Render the fence, as pymdownx.superfences asks for it."""
    page = page_of(md)
    reference = "results fence"
    try:
        given = options(source)
        reference = next(given[k] for k in SHOWS if k in given)
        parts = []
        if "overview" in given:
            parts.append(_overview(page, given["overview"]))
        if "chart" in given:
            parts.append(_figure(page, given))
        if "table" in given:
            parts.append(_table(page, given))
        if "text" in given:
            parts.append(_listing(page, given))
        shown = "".join(parts)
        if ":" not in reference:
            return shown
        result = load(page, reference)
        return surround(page, md, reference, result, given, shown)
    except PageError:
        raise
    except Exception as error:  # superfences would swallow it
        raise page.error(f"{reference}: {error}") from None


def options(source: str) -> dict[str, str]:
    """Read the lines of a fence; `LookupError` for an unknown option."""
    found = fences.options(source, OPTIONS)
    if not set(SHOWS) & set(found):
        raise LookupError(f"needs one of {', '.join(SHOWS)}")
    return found


def load(page, reference: str) -> dict:
    """Return the result that a page refers to."""
    return results.load(reference, page.root / results.ROOT)


def _pairs(text: str) -> dict[str, str]:
    return {k: v[0] for k, v in tables.conditions(text).items()}


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def surround(page, md, reference, result, given, body) -> str:
    """Put prediction and outcome around what is shown, once on a page."""
    told = md.__dict__.setdefault("llmnotes_results_told", set())
    mode = _mode(result, given)
    known = reference in told and "prediction" not in given
    told.add(reference)
    if known or mode == "none":
        return body
    outcome = given.get("outcome", "")
    if mode == "fold":
        return body + provenance.folded(result, outcome)
    return provenance.prediction(result) + body + provenance.outcome(outcome)


def _mode(result: dict, given: dict) -> str:
    """Return whether the prediction is shown, folded or left out."""
    default = "none" if result["kind"] == "exact" else "fold"
    mode = given.get("prediction", default)
    if mode not in PREDICTIONS:
        expected = ", ".join(PREDICTIONS)
        raise LookupError(f"prediction {mode!r} is not one of {expected}")
    if "outcome" in given and mode == "none":
        raise LookupError("an outcome without its prediction: say fold")
    return mode


def _data(page, reference: str) -> str | None:
    chapter = reference.partition(":")[0]
    uri = results.path_of(chapter, Path("results")).as_posix()
    return page.url(uri) if page.exists(uri) else None


def _cells(result: dict, given: dict):
    """Return columns, rows and whether they are a pivot."""
    where = given.get("where", "")
    if {"x", "y", "by"} <= set(given):
        names = _pairs(given.get("labels", ""))
        keys = (given["x"], given["by"], given["y"])
        return *tables.pivot(result, *keys, where, names), True
    listed = _list(given.get("columns", ""))
    return *tables.selection(result, listed, where), False


def _table(page, given: dict) -> str:
    result = load(page, given["table"])
    columns, rows, pivoted = _cells(result, given)
    forms = _pairs(given.get("format", ""))
    if pivoted and given["y"] in forms:
        forms |= {c["name"]: forms[given["y"]] for c in columns[1:]}
    best = tables.best_cells(columns, rows, given.get("best", ""), pivoted)
    # A figure above may have its own caption: a table keeps the title.
    title = given.get("caption") if "chart" not in given else None
    shown = tables.table(columns, rows, title or result["title"], forms, best)
    return shown + provenance.brief(result, _data(page, given["table"]))


def _figure(page, given: dict) -> str:
    result = load(page, given["chart"])
    if not given.get("alt"):
        raise LookupError("a chart needs `alt`: what it shows, in words")
    chart = _chart(result, given)
    identity = _identity(given)
    programs = [Path(m.__file__).read_text("utf-8") for m in (drawing, svgs)]
    key = (chart, identity, given["alt"], *programs)
    drawn = kept(
        page.root, key, lambda: drawing.both(chart, identity, given["alt"])
    )
    caption = tables.prose(given.get("caption") or result["title"])
    data = "" if "table" in given else _data_below(page, result, given)
    return (
        f'<figure class="chart">{drawn}<figcaption>{caption}</figcaption>'
        f"</figure>{data}"
    )


def _identity(given: dict) -> str:
    """A prefix for the ids in the SVG: the same fence, the same ids."""
    digest = hashlib.sha256(repr(sorted(given.items())).encode())
    return f"c{digest.hexdigest()[:8]}"


def _chart(result: dict, given: dict) -> drawing.Chart:
    for name in ("x", "y"):
        if name not in given:
            raise LookupError(f"a chart needs `{name}`: a column")
    kind = given.get("kind", "line")
    if kind not in ("line", "scatter", "bar"):
        raise LookupError(f"kind {kind!r} is not line, scatter or bar")
    scale = given.get("scale", "linear-linear")
    if scale not in SCALES:
        raise LookupError(f"scale {scale!r} is not one of {sorted(SCALES)}")
    i, j = (tables.column(result, given[name]) for name in ("x", "y"))
    low, high = _spread(result, given, i)
    return drawing.Chart(
        series=_series(result, given, i, j),
        spread={name: (low[name][1], high[name][1]) for name in low},
        x=result["columns"][i],
        y=result["columns"][j],
        kind=kind,
        scale=scale,
        names=_pairs(given.get("labels", "")),
        lines=frozenset(_list(given.get("lines", ""))),
    )


def _spread(result, given, i):
    """Return the series of the lowest and of the highest; none unasked."""
    names = _list(given.get("spread", ""))
    if len(names) not in (0, 2):
        raise LookupError(f"spread: got {len(names)} columns, expected two")
    columns = [tables.column(result, name) for name in names]
    return [_series(result, given, i, j) for j in columns] or ({}, {})


def _series(result, given, i, j) -> dict[str, tuple[list, list]]:
    by = tables.column(result, given["by"]) if "by" in given else None
    series = {}
    for row in tables.rows_where(result, given.get("where", "")):
        if row[j] is None:
            continue
        name = "" if by is None else str(row[by])
        xs, ys = series.setdefault(name, ([], []))
        xs.append(row[i])
        ys.append(row[j])
    columns = [j] if given.get("kind") == "bar" else [i, j]
    for k in columns:
        if any(isinstance(row[k], str) for row in result["rows"]):
            name = result["columns"][k]["name"]
            raise LookupError(f"column {name!r} holds words, not numbers")
    if len(series) > MOST:
        raise LookupError(
            f"{len(series)} series ({', '.join(series)}), expected at most "
            f"{MOST}; pick some with `where`"
        )
    return series


def _data_below(page, result: dict, given: dict) -> str:
    columns, rows, _ = _cells(result, given)
    if not {"x", "y", "by"} <= set(given):
        kept_names = [given["x"], given["y"]]
        columns, rows = tables.selection(
            result, kept_names, given.get("where", "")
        )
    forms = _pairs(given.get("format", ""))
    shown = tables.table(columns, rows, result["title"], forms)
    return below(page, given["chart"], result, shown)


def below(page, reference: str, result: dict, shown: str) -> str:
    """Return the line below a figure; it opens the figure's numbers.

    Very many stand on the page of the chapter's results.
    """
    line = f"Numbers · {provenance.short(result)}"
    chapter = reference.partition(":")[0]
    if shown.count("<td") > MANY and page.exists(f"results/{chapter}.md"):
        href = f"{page.url(f'results/{chapter}.md')}#{anchor(reference)}"
        words = f"All {len(result['rows']):,} rows"
        shown = f'<p><a href="{href}">{words}</a></p>'
    file = provenance.brief(result, _data(page, reference))
    return (
        f'<details class="data"><summary>{line}</summary>'
        f"{shown}{file}</details>"
    )


def _listing(page, given: dict) -> str:
    result = load(page, given["text"])
    listed = _list(given.get("columns", ""))
    columns, rows = tables.selection(result, listed, given.get("where", ""))
    forms = _pairs(given.get("format", ""))
    name = given.get("caption") or result["title"]
    shown = tables.listing(columns, rows, name, forms)
    return shown + provenance.brief(result, _data(page, given["text"]))


def _overview(page, chapter: str) -> str:
    """Every result of a chapter, each with the anchor numbers link to."""
    found = results.of_chapter(chapter, page.root / results.ROOT)
    return "".join(
        f'<section id="{anchor(f"{chapter}:{name}")}" class="result">'
        + provenance.prediction(result)
        + _whole(result)
        + provenance.line(result, _data(page, chapter))
        + "</section>"
        for name, result in found.items()
    )


def _whole(result: dict) -> str:
    """All rows: a table, or where there are very many a listing."""
    columns, rows, title = (result[k] for k in ("columns", "rows", "title"))
    if len(rows) <= LONG:
        return tables.table(columns, rows, title, {})
    heads = [tables.heading(column) for column in columns]
    return (
        f'<p class="results-title">{tables.prose(title)}</p>'
        + tables.listing(columns, rows, title, {}, heads)
    )


def anchor(reference: str) -> str:
    """Return the anchor of a result on the overview page."""
    return reference.replace("/", "-").replace(":", "-")
