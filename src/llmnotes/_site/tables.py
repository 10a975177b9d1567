"""Results as text: cells and tables in HTML.

selection = (columns, rows) of a result after `where` and `columns`
pivot     = one row per value of x, one column per value of `by`
"""

import math
import re
from html import escape

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value, form: str = "", unit: str = "") -> str:
    """Return a cell as a reader expects it: 1,234, 0.0123, 4.2·10⁻⁷.

    `form` is a Python format, or `si` for a prefix and the unit: 4.29 GB.
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if form == "si":
        text = _si(value, unit)
    elif form:
        text = format(value, form)
    else:
        text = f"{value:,}" if isinstance(value, int) else _three(value)
    return "−" + text[1:] if text.startswith("-") else text


def _three(value: int | float) -> str:
    """Three significant digits."""
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{digits}·10{str(int(power)).translate(SUPERSCRIPTS)}"
    rounded = abs(float(f"{value:.2e}"))
    return f"{value:.{2 - math.floor(math.log10(rounded))}f}"


def _si(value: int | float, unit: str) -> str:
    """Three significant digits, a prefix and the unit."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter(unit=unit)(float(f"{value:.2e}"))


def prose(text: str) -> str:
    """Escape a sentence of a result file; `code` becomes code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def column(result: dict, name: str) -> int:
    """Return the position of a column; `LookupError` names those there are."""
    names = [c["name"] for c in result["columns"]]
    if name not in names:
        raise LookupError(f"no column {name!r}; it has {', '.join(names)}")
    return names.index(name)


def conditions(text: str) -> dict[str, list[str]]:
    """Read `method=naive|sdpa, n=512` into {column: [values]}.

    A value may hold commas: a new condition begins at `, name=`.
    """
    found = {}
    for part in filter(None, re.split(r",\s*(?=[^,=|]+=)", text.strip())):
        name, equals, values = part.partition("=")
        if not equals:
            raise LookupError(f"condition {part!r} is not column=value")
        found[name.strip()] = [v.strip() for v in values.split("|")]
    return found


def matches(cell, values: list[str]) -> bool:
    """Whether a cell is one of the values, compared as number or as text."""
    for value in values:
        if str(cell) == value:
            return True
        try:
            if not isinstance(cell, str) and cell == float(value):
                return True
        except ValueError:
            continue
    return False


def rows_where(result: dict, text: str) -> list[list]:
    """Return the rows that meet the conditions; `LookupError` if none does."""
    wanted = {column(result, n): v for n, v in conditions(text).items()}
    rows = [
        row
        for row in result["rows"]
        if all(matches(row[i], values) for i, values in wanted.items())
    ]
    if not rows:
        raise LookupError(f"no row where {text}")
    return rows


def label(col: dict, form: str = "") -> str:
    """Return the words over a column: label and unit."""
    words = prose(col.get("label") or col["name"])
    if not col["unit"] or form == "si":
        return words
    return f'{words} <span class="unit">({escape(col["unit"])})</span>'


def selection(result: dict, names: list[str], where: str = ""):
    """Return the named columns (all, if none is named) of the rows."""
    picked = [column(result, n) for n in names]
    picked = picked or list(range(len(result["columns"])))
    rows = rows_where(result, where)
    return (
        [result["columns"][i] for i in picked],
        [[row[i] for i in picked] for row in rows],
    )


def pivot(result: dict, x: str, by: str, y: str, where: str, names: dict):
    """Return one row per value of `x` and one column per value of `by`."""
    ix, iby, iy = (column(result, n) for n in (x, by, y))
    rows = rows_where(result, where)
    series = list(dict.fromkeys(row[iby] for row in rows))
    cells = {(row[ix], row[iby]): row[iy] for row in rows}
    if len(cells) < len(rows):
        raise LookupError(f"several rows for one {x} and {by}; use `where`")
    columns = [result["columns"][ix]] + [
        {
            "name": str(s),
            "unit": result["columns"][iy]["unit"],
            "label": names.get(str(s), number(s)),
        }
        for s in series
    ]
    places = list(dict.fromkeys(row[ix] for row in rows))
    return columns, [[p, *(cells.get((p, s)) for s in series)] for p in places]


def table(columns, rows, title: str, forms: dict, best=frozenset()) -> str:
    """Return an accessible table; `best` holds (row, column) positions."""
    numeric = [
        all(not isinstance(row[j], str) for row in rows)
        for j in range(len(columns))
    ]
    head = "".join(
        f'<th scope="col"{_num(numeric[j])}>'
        f"{label(c, forms.get(c['name'], ''))}</th>"
        for j, c in enumerate(columns)
    )
    body = "".join(
        "<tr>"
        + "".join(
            _cell(j, row[j], c, forms, numeric[j], (i, j) in best)
            for j, c in enumerate(columns)
        )
        + "</tr>"
        for i, row in enumerate(rows)
    )
    return (
        '<div class="results-table" tabindex="0" role="group" '
        f'aria-label="Table: {escape(title)}"><table class="results">'
        f"<caption>{prose(title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _num(numeric: bool) -> str:
    return ' class="num"' if numeric else ""


def _cell(j, value, col, forms, numeric, best) -> str:
    text = escape(number(value, forms.get(col["name"], ""), col["unit"]))
    if j == 0:
        return f'<th scope="row"{_num(numeric)}>{text}</th>'
    if best:
        return (
            '<td class="num best"><span role="img" aria-label="best:">▸'
            f"</span> <strong>{text}</strong></td>"
        )
    return f"<td{_num(numeric)}>{text}</td>"


def best_cells(columns, rows, rule: str, pivoted: bool) -> set:
    """Find the best cells for `min` (of a pivot) or `min column [per c]`.

    In a pivot the best of each row; else the best of the column, or of each
    group of rows that share the value of the column after `per`.
    """
    words = rule.split()
    if not words:
        return set()
    if words[0] not in ("min", "max"):
        raise LookupError(f"best: {rule!r} does not begin with min or max")
    pick = min if words[0] == "min" else max
    if pivoted:
        groups = [
            [(i, j) for j in range(1, len(columns)) if row[j] is not None]
            for i, row in enumerate(rows)
        ]
    else:
        groups = _groups(columns, rows, words)
    return {
        place
        for group in groups
        for place in group
        if rows[place[0]][place[1]] == pick(rows[i][j] for i, j in group)
    }


def _groups(columns, rows, words):
    if len(words) not in (2, 4):
        raise LookupError("best: write `min column` or `min column per other`")
    shown = {"columns": columns}
    j = column(shown, words[1])
    k = column(shown, words[3]) if len(words) == 4 else None
    groups = {}
    for i, row in enumerate(rows):
        if row[j] is not None:
            groups.setdefault(k if k is None else row[k], []).append((i, j))
    return groups.values()


def heading(col: dict) -> str:
    """Return the words over a column as plain text: label (unit)."""
    words = col.get("label") or col["name"]
    return f"{words} ({col['unit']})" if col["unit"] else words


def listing(columns, rows, title: str, forms: dict, heads=()) -> str:
    """Return rows as aligned columns of text; `heads` are words above."""
    lines = [list(heads)] if heads else []
    for row in rows:
        pairs = zip(row, columns, strict=True)
        lines.append(
            [number(v, forms.get(c["name"], ""), c["unit"]) for v, c in pairs]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    align = ["<" if isinstance(value, str) else ">" for value in rows[0]]
    text = "\n".join(
        "  ".join(
            f"{word:{side}{width}}"
            for word, side, width in zip(line, align, widths, strict=True)
        ).rstrip()
        for line in lines
    )
    return (
        '<div class="highlight"><pre class="results-text" tabindex="0" '
        f'role="group" aria-label="{escape(title)}"><code>{escape(text)}'
        "</code></pre></div>"
    )
