"""Numbers in prose, written by reference to the result they come from.

    {{ kernels/attention_speed:forward[method=naive, n=8192].seconds | .2f }}

    reference  = part/slug:name[column=value, …].column; exactly one row
    expression = references and numbers with + - * / and brackets
    format     = after `|`: a Python format, or `si` for prefix and unit,
                 which is reckoned like the numbers: s/s is none, B/s stays

The number links to its table on the page of its result file; assets/cards.js
opens a small card instead, with its row, machine and date. Nothing is
replaced in code spans and fences: there, and only there, the syntax can be
shown.
"""

import ast
import operator
import re
from html import escape

from markdown import Extension
from markdown.preprocessors import Preprocessor

from llmnotes._site import provenance, results, tables, units
from llmnotes._site.charts import anchor
from llmnotes._site.page import page_of

CODE = r"(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)(?P=ticks)(?!`)"
NUMBER = r"\{\{ (?P<spaced>[^{}]+?) \}\}|\{\{(?P<tight>\w+/\w+:[^{}]*)\}\}"
FOUND = re.compile(f"{CODE}|{NUMBER}", re.DOTALL)
REFERENCE = re.compile(
    r"(?P<table>[a-z0-9_]+/[a-z0-9_]+:[a-z0-9_]+)"
    r"(?:\[(?P<where>[^\]]*)\])?\.(?P<column>[a-z0-9_]+)"
)
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def look_up(root, reference: re.Match):
    """Return the cell, its unit and its result; `LookupError` without one."""
    result = results.load(reference["table"], root / results.ROOT)
    j = tables.column(result, reference["column"])
    rows = tables.rows_where(result, reference["where"] or "")
    if len(rows) != 1:
        raise LookupError(
            f"{reference[0]} picks {len(rows)} rows, expected exactly one"
        )
    return rows[0][j], result["columns"][j]["unit"], result


def evaluate(root, text: str) -> tuple[str, str, dict]:
    """Return the number as text, its first table and that table's result."""
    expression, _, form = (part.strip() for part in text.partition("|"))
    cells = {}

    def hold(reference):
        cells[name := f"cell{len(cells)}"] = look_up(root, reference)
        return name

    held = REFERENCE.sub(hold, expression)
    if not cells:
        raise LookupError(f"{text!r} holds no part/slug:name.column")
    value, unit = _value(ast.parse(held, mode="eval").body, cells, text)
    table = REFERENCE.search(expression)["table"]
    written = units.written(unit)
    if form == "si" and not written:
        raise LookupError(f"{text!r}: si needs a unit, and this has none")
    return tables.number(value, form, written), table, cells["cell0"][2]


def _value(node, cells, text) -> tuple[float | str, units.Unit]:
    """Return what a part of the expression is worth, and in what unit."""
    if isinstance(node, ast.Name) and node.id in cells:
        value, unit, _ = cells[node.id]
        return value, units.read(unit)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value, units.ANY
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left, right = (_value(n, cells, text) for n in (node.left, node.right))
        apply = OPERATORS[type(node.op)]
        unit = units.combined(type(node.op), left[1], right[1])
        return apply(left[0], right[0]), unit
    raise LookupError(f"{text!r} is more than numbers, references, + - * /")


def plain(text: str, root) -> str:
    """Return the Markdown with the numbers as plain text."""

    def replace(m):
        found = m["spaced"] or m["tight"]
        return evaluate(root, found)[0] if found else m[0]

    return FOUND.sub(replace, text)


class NumberPreprocessor(Preprocessor):
    """Replace the references of a page."""

    def run(self, lines: list[str]) -> list[str]:
        """Work on the whole text: fences are gone, raw HTML is there."""
        return FOUND.sub(self.replace, "\n".join(lines)).split("\n")

    def replace(self, m: re.Match) -> str:
        """Return a placeholder for the number, or the code span as it is."""
        text = m["spaced"] or m["tight"]
        if not text:
            return m[0]
        page = page_of(self.md)
        try:
            shown, table, result = evaluate(page.root, text.strip())
        except (ValueError, TypeError, SyntaxError, LookupError) as error:
            raise page.error(f"{{{{ {text} }}}}: {error}") from None
        except ZeroDivisionError:
            raise page.error(f"{{{{ {text} }}}}: divides by zero") from None
        return self.md.htmlStash.store(_link(page, text, shown, table, result))


def rows_of(text: str) -> str:
    """Return what a number is: the rows and columns it is taken from."""
    cells = [
        f"{m['where']}: {m['column']}" if m["where"] else m["column"]
        for m in REFERENCE.finditer(text)
    ]
    return "; ".join(dict.fromkeys(cells))


def _link(page, text: str, shown: str, table: str, result: dict) -> str:
    """Return the number with what its card says: title, rows, run."""
    said = {
        "title": result["title"],
        "rows": rows_of(text),
        "run": provenance.whole(result),
    }
    data = "".join(f' data-{k}="{escape(v)}"' for k, v in said.items())
    number = escape(shown)
    overview = f"results/{table.partition(':')[0]}.md"
    if not page.exists(overview):
        return f'<span class="num"{data}>{number}</span>'
    href = f"{page.url(overview)}#{anchor(table)}"
    return f'<a class="num" href="{href}"{data}>{number}</a>'


class NumberExtension(Extension):
    """Markdown extension `llmnotes._site.numbers`."""

    def extendMarkdown(self, md):
        """Register after superfences (25) and before raw HTML (20).

        So fences are already put away, and a reference also works in raw
        HTML and in table cells, whose `|` would else split it.
        """
        md.preprocessors.register(
            NumberPreprocessor(md), "llmnotes-numbers", 22
        )


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return NumberExtension(**options)
