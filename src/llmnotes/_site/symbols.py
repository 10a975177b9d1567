"""Code by symbol: a line in a fence stands for the source of that symbol.

    ```python
    --8<-- "llmnotes.transformer.attention:MultiHeadAttention.forward"
    ```

Words after the closing quote: `imports` puts in front those imports of the
module that the block uses, `nodoc` drops docstrings. Modules lie under src/
or at the root of the repository (tests.…). A link to the lines follows the
fence. To show such a line itself, write a semicolon in front of it, as in
pymdownx.snippets, which takes the semicolon away.
"""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

from markdown import Extension
from markdown.preprocessors import Preprocessor

from llmnotes._site.page import page_of

WIDTH = 79
OPTIONS = {"imports", "nodoc"}
LINE = re.compile(
    r'(?P<pad>[ \t>]*)--8<-- "(?P<module>[\w.]+):(?P<name>[\w.]+)"'
    r"(?P<words>(?:[ \t]+\w+)*)[ \t]*"
)
FENCE = re.compile(r"(?P<pad>[ \t>]*)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)")
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
        tree = ast.parse(text)
    except SyntaxError as error:
        where = f"{module}, line {error.lineno}"
        raise LookupError(f"{where}: {error.msg}") from None
    node = _find(tree, name, f"{module}:{name}")
    first = min(n.lineno for n in [node, *_decorators(node)])
    drop = _docstring_lines(node, text) if "nodoc" in words else set()
    strings = _inside_strings(node)
    kept = [
        line if i in strings else line.removeprefix(" " * node.col_offset)
        for i, line in enumerate(text.splitlines(), 1)
        if first <= i <= node.end_lineno and i not in drop
    ]
    imports = _imports(tree, node) if "imports" in words else {}
    place = path.relative_to(root)
    return Source(name, place, first, node.end_lineno, kept, imports)


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


def _docstring_lines(node, text) -> set[int]:
    lines = text.splitlines()
    drop = set()
    for n in ast.walk(node):
        documented = isinstance(n, DEFINITIONS) and ast.get_docstring(n)
        if not documented or len(n.body) == 1:
            continue
        end = n.body[0].end_lineno
        while not lines[end].strip():  # blank lines below the docstring
            end += 1
        drop |= set(range(n.body[0].lineno, end + 1))
    return drop


def _inside_strings(node) -> set[int]:
    """Return the lines whose leading spaces are part of a string's value."""
    bare = {id(n.value) for n in ast.walk(node) if isinstance(n, ast.Expr)}
    return {
        line
        for n in ast.walk(node)
        if isinstance(n, ast.Constant | ast.JoinedStr) and id(n) not in bare
        for line in range(n.lineno + 1, n.end_lineno + 1)
    }


def _imports(tree, node) -> dict[str, set[str]]:
    used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
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


def _write_imports(imports: dict[str, set[str]]) -> list[str]:
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


@dataclass
class Block:
    """The lines of one fence, or of the text between two fences."""

    opening: re.Match | None = None
    lines: list[str] = field(default_factory=list)
    closing: str | None = None


def blocks(lines):
    """Yield the fences of a Markdown text and what lies between them."""
    block = Block()
    for line in lines:
        m = FENCE.fullmatch(line)
        if block.opening is None and m:
            yield block
            block = Block(opening=m)
        elif m and m[0].strip("> \t") == block.opening["ticks"]:
            block.closing = line
            yield block
            block = Block()
        else:
            block.lines.append(line)
    yield block


def _expand_block(root: Path, lines) -> tuple[list[str], list[Source]]:
    """Put sources into a block; imports of all of them before the first."""
    matches = [(line, LINE.fullmatch(line)) for line in lines]
    sources = {
        i: source_of(root, m["module"], m["name"], m["words"].split())
        for i, (_, m) in enumerate(matches)
        if m
    }
    imports = {}
    for source in sources.values():
        for head, names in source.imports.items():
            imports.setdefault(head, set()).update(names)
    out = []
    for i, (line, m) in enumerate(matches):
        if i not in sources:
            out.append(line)
            continue
        code = sources[i].code
        if imports and i == min(sources):
            gap = 2 if code[0].startswith(("def ", "class ", "@")) else 1
            code = [*_write_imports(imports), *[""] * gap, *code]
        out += [m["pad"] + row if row else row for row in code]
    return out, list(sources.values())


def expand(text: str, root: Path | None = None) -> str:
    """Return the Markdown, or the body of a fence, with plain code in it.

    The same text as on the page, without the links to the source.
    """
    out = []
    for block in blocks(text.split("\n")):
        if block.opening:
            out.append(block.opening[0])
        out += _expand_block(root or Path.cwd(), block.lines)[0]
        if block.closing is not None:
            out.append(block.closing)
    return "\n".join(out)


def _link(page, pad: str, source: Source) -> list[str]:
    """Write the link to the lines; attr_list gives the paragraph a class."""
    first, last = source.first, source.last
    one = first == last
    lines = f"line {first}" if one else f"lines {first}–{last}"
    text = f"`{source.name}` in `{source.path.as_posix()}`, {lines}"
    anchor = f"L{first}" if one else f"L{first}-L{last}"
    url = page.source_url(source.path.as_posix(), anchor)
    text = f"[{text}]({url})" if url else text
    gap = pad.rstrip()
    return [gap, pad + text, pad + "{ .source-link }", gap]


class SymbolPreprocessor(Preprocessor):
    """Replace the symbol lines of a page."""

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines of the page with the sources in their place."""
        page = page_of(self.md)
        out = []
        for block in blocks(lines):
            try:
                body, sources = _expand_block(page.root, block.lines)
            except LookupError as error:
                raise page.error(error.args[0]) from None
            if sources and block.closing is None:
                raise page.error(
                    f"the line for {sources[0].name} must stand in a fence"
                )
            if block.opening:
                out.append(block.opening[0])
            out += body
            if block.closing is not None:
                out.append(block.closing)
            for source in sources:
                out += _link(page, block.opening["pad"], source)
        return out


class SymbolExtension(Extension):
    """Markdown extension `llmnotes._site.symbols`."""

    def extendMarkdown(self, md):
        """Register before pymdownx.snippets (32), whose syntax it shares."""
        md.preprocessors.register(
            SymbolPreprocessor(md), "llmnotes-symbols", 33
        )


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return SymbolExtension(**options)
