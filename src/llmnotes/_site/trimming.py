"""What a page leaves out of a definition: docstrings and shape guards.

A guard refuses a wrong argument and computes nothing: the decorator
`@checked`, a statement that only calls a function named `check_…`, an `if`
around such calls, a `__post_init__` of nothing else. An `if` that raises by
itself stays.
"""

import ast

DOCUMENTED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
DECORATOR, PREFIX = "checked", "check_"


def docstrings(node: ast.AST) -> list[ast.AST]:
    """Return the docstrings in a definition; one that is all of it stays."""
    return [
        n.body[0]
        for n in ast.walk(node)
        if isinstance(n, DOCUMENTED) and ast.get_docstring(n) is not None
        if len(n.body) > 1
    ]


def guards(node: ast.AST) -> list[ast.AST]:
    """Return the guards in a definition; those that are all of it stay."""
    found = []
    for n in [node, *_nested(node)]:
        found += [d for d in getattr(n, "decorator_list", []) if _named(d)]
        body = _statements(n)
        if not all(map(_is_guard, body)):
            found += filter(_is_guard, body)
    return found


def _statements(node) -> list[ast.stmt]:
    """Return a body without its docstring; a lambda's is no statement."""
    body = getattr(node, "body", [])
    return [
        statement
        for statement in (body if isinstance(body, list) else [])
        if not _is_docstring(statement)
    ]


def _nested(node):
    return (n for n in ast.walk(node) if n is not node and not _is_guard(n))


def _named(decorator) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == DECORATOR


def _is_docstring(statement) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(
        statement.value, ast.Constant
    )


def _is_guard(node) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return _called(node.value.func).startswith(PREFIX)
    if isinstance(node, ast.If):
        return not node.orelse and all(map(_is_guard, node.body))
    if isinstance(node, ast.FunctionDef) and node.name == "__post_init__":
        return all(_is_guard(s) or _is_docstring(s) for s in node.body)
    return False


def _called(function) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def without(lines: dict[int, str], dropped: list[ast.AST]) -> dict[int, str]:
    """Return numbered lines without nodes, their comments and their gaps."""
    gone = set().union(*(_lines_of(node, lines) for node in dropped))
    kept, after_gone = {}, False
    for number, line in lines.items():
        if number in gone:
            after_gone = True
            continue
        last = next(reversed(kept.values()), "")
        if after_gone and not line.strip() and last.rstrip()[-1:] in ("", ":"):
            continue
        kept[number], after_gone = line, False
    while kept and not next(reversed(kept.values())).strip():
        kept.popitem()
    return kept


def _lines_of(node, lines: dict[int, str]) -> set[int]:
    """Return a node's lines, and those of a comment right above it."""
    first = node.lineno
    for decorator in getattr(node, "decorator_list", []):
        first = min(first, decorator.lineno)
    while lines.get(first - 1, "").lstrip().startswith("#"):
        first -= 1
    return set(range(first, node.end_lineno + 1))
