"""The source of a symbol: a definition or an assignment, found with `ast`.

path   = where it lies, relative to the repository
words  = options: `imports`, `doc`, `guards`, explained in symbols.py
"""

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

from llmnotes._site import trimming

WIDTH = 79
OPTIONS = {"imports", "doc", "guards"}
PACKAGE = "src"  # only there a call of `check_…` is a guard
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Source:
    """The source of one symbol, and where it lies."""

    name: str
    path: Path  # relative to the repository
    first: int
    last: int
    code: list[str]
    imports: dict[str, set[str]]  # "from einops import" -> {"rearrange"}
    left_out: tuple[str, ...] = ()  # "docstring", "guards"


def source_of(root: Path, module: str, name: str, words=()) -> Source:
    """Return the source of `module:name`; `LookupError` if there is none.

    `name` is a dotted path through classes and functions to a definition or
    an assignment.
    """
    if unknown := set(words) - OPTIONS:
        raise LookupError(f"{module}:{name}: unknown option {min(unknown)}")
    path = _file(root, module)
    text = path.read_text(encoding="utf-8")
    try:
        tree = _parsed(text)
    except SyntaxError as error:
        where = f"{module}, line {error.lineno}"
        raise LookupError(f"{where}: {error.msg}") from None
    node = _find(tree, name, f"{module}:{name}")
    place = path.relative_to(root)
    dropped = _left_out(node, words, place)
    gone = [n for nodes in dropped.values() for n in nodes]
    lines = _lines(node, text, gone)
    imports = _imports(tree, node, gone) if "imports" in words else {}
    first = min(n.lineno for n in [node, *_decorators(node)])
    left_out = tuple(what for what, nodes in dropped.items() if nodes)
    return Source(
        name, place, first, node.end_lineno, lines, imports, left_out
    )


def _left_out(node, words, place: Path) -> dict[str, list[ast.AST]]:
    found = {}
    if "doc" not in words:
        found["docstring"] = trimming.docstrings(node)
    if "guards" not in words and place.parts[0] == PACKAGE:
        found["guards"] = trimming.guards(node)
    return found


def _lines(node, text: str, dropped: list[ast.AST]) -> list[str]:
    """Return the lines of a definition, moved to the margin."""
    first = min(n.lineno for n in [node, *_decorators(node)])
    every = dict(enumerate(text.splitlines(), 1))
    span = {i: every[i] for i in range(first, node.end_lineno + 1)}
    strings = _inside_strings(node)
    return [
        line if i in strings else line.removeprefix(" " * node.col_offset)
        for i, line in trimming.without(span, dropped).items()
    ]


@functools.lru_cache(maxsize=32)
def _parsed(text: str) -> ast.Module:
    """Parse a module once for all the symbols that pages take from it."""
    return ast.parse(text)


def _file(root: Path, module: str) -> Path:
    stem = Path(*module.split("."))
    for folder in (root / "src", root):
        for path in (folder / f"{stem}.py", folder / stem / "__init__.py"):
            if path.exists():
                return path
    raise LookupError(f"no module {module} under src/ or the root")


def _statements(node):
    """Yield the statements of a body, also those inside `if` and `try`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ExceptHandler):
            yield from _statements(child)
        elif isinstance(child, ast.stmt):
            yield child
            if not isinstance(child, DEFINITIONS):
                yield from _statements(child)


def _names(node) -> set[str]:
    if isinstance(node, DEFINITIONS):
        return {node.name}
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        return set()
    every = [n for target in targets for n in ast.walk(target)]
    return {n.id for n in every if isinstance(n, ast.Name)}


def _find(tree, name, reference):
    node = tree
    for part in name.split("."):
        found = [n for n in _statements(node) if part in _names(n)]
        if not found:
            near = sorted(set().union(*map(_names, _statements(node))))
            raise LookupError(
                f"no symbol {reference}; {part!r} is not one of "
                f"{', '.join(near) or 'nothing'}"
            )
        node = found[-1]  # as Python: the last definition counts
    return node


def _decorators(node) -> list[ast.expr]:
    return getattr(node, "decorator_list", [])


def _inside_strings(node) -> set[int]:
    """Return the lines whose leading spaces are part of a string's value."""
    bare = {id(n.value) for n in ast.walk(node) if isinstance(n, ast.Expr)}
    return {
        line
        for n in ast.walk(node)
        if isinstance(n, ast.Constant | ast.JoinedStr) and id(n) not in bare
        for line in range(n.lineno + 1, n.end_lineno + 1)
    }


def _imports(tree, node, dropped) -> dict[str, set[str]]:
    gone = {id(n) for top in dropped for n in ast.walk(top)}
    left = [n for n in ast.walk(node) if id(n) not in gone]
    used = {n.id for n in left if isinstance(n, ast.Name)}
    found = {}
    for statement in _statements(tree):
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        future = getattr(statement, "module", "") == "__future__"
        for alias in statement.names:
            bound = alias.asname or alias.name.split(".")[0]
            if not (bound in used or (future and _is_annotated(node))):
                continue
            head = "import"
            if isinstance(statement, ast.ImportFrom):
                dots = "." * statement.level
                head = f"from {dots}{statement.module or ''} import"
            found.setdefault(head, set()).add(ast.unparse(alias))
    return found


def _is_annotated(node) -> bool:
    return any(
        getattr(n, "annotation", None) or getattr(n, "returns", None)
        for n in ast.walk(node)
    )


def write_imports(imports: dict[str, set[str]]) -> list[str]:
    """Return import lines no wider than the page's code column."""
    lines = []
    for head, names in imports.items():
        if head == "import":
            lines += [f"import {name}" for name in sorted(names)]
            continue
        line = f"{head} {', '.join(sorted(names))}"
        if len(line) <= WIDTH:
            lines.append(line)
        else:
            lines += [f"{head} (", *(f"    {n}," for n in sorted(names)), ")"]
    return lines
