"""What a file's outcome depends on: its import closure and a fingerprint.

closure     = the file, every module of the project that it imports, at any
              depth and from anywhere in the code, the packages these lie in,
              what tests may take from a conftest.py, and every module or
              file that a string names
fingerprint = a digest of the closure's code without comments and docstrings
              and of the platform, Python and pinned packages it runs with

No history is asked, so a shallow clone or a changed tree is no obstacle. What
cannot be seen is a file whose name is put together at run time; an f-string
that begins with a package counts as all of the package's modules.
"""

import ast
import functools
import hashlib
import platform
import re
import sys
import textwrap
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmnotes._site import imports

HOMES = {imports.PACKAGE: "src", "tests": ""}  # package -> folder it lies in
PINS = "constraints.txt"
DERIVED = "docs/results"  # holds fingerprints, so it cannot be part of one
# Who uses these reads code as text, in which comments count.
READERS = {"__file__", "__doc__", "getsource", "getsourcelines"}
MODULE = re.compile(rf"\b(?:{'|'.join(HOMES)})(?:\.\w+)+")
PREFIX = re.compile(rf"(?:^|\W)((?:{'|'.join(HOMES)})(?:\.\w+)*)\.$")


def fingerprint(path: Path, root: Path) -> str:
    """Return a digest that changes when the outcome of a file may change.

    `path` is a Python file below `root`, the project's folder.
    """
    found = closure(path, root)
    parts = [f"{p.relative_to(root)} {found[p]}" for p in sorted(found)]
    text = "\n".join([*parts, *environment(root)])
    return hashlib.sha256(text.encode()).hexdigest()


def closure(path: Path, root: Path) -> dict[Path, str]:
    """Return {file: digest} of everything that a Python file depends on."""
    # What a plugin of pytest names in a string is no input of every bench.
    given = _reach(_conftests(path, root), root, "imports")
    return given | _reach([path], root, "names")


def _reach(queue: list[Path], root: Path, which: str) -> dict[Path, str]:
    """Return {file: digest} of files and all that they import, or name."""
    queue, seen, as_text = list(queue), {}, set()
    while queue:
        file = queue.pop()
        if file in seen:
            continue
        seen[file] = _read(file, root, file.stat().st_mtime_ns)
        queue += getattr(seen[file], which)
        if seen[file].reads_text:
            as_text |= {file, *seen[file].names}
    return {
        file: known.text if file in as_text else known.code
        for file, known in seen.items()
    }


def environment(root: Path) -> list[str]:
    """Name platform, Python and the installed versions of pinned packages."""
    stamp = (root / PINS).stat().st_mtime_ns if (root / PINS).exists() else 0
    return [
        f"{platform.system()} {platform.machine()}",
        f"Python {sys.version_info.major}.{sys.version_info.minor}",
        *_installed(root / PINS, stamp),
    ]


@functools.lru_cache(maxsize=4)
def _installed(pins: Path, stamp: int) -> list[str]:
    found = []
    for line in pins.read_text("utf-8").splitlines() if stamp else ():
        name = re.split(r"[=<>~! #;]", line, maxsplit=1)[0]
        try:  # torch's +cpu tells where it came from
            found.append(f"{name} {version(name).partition('+')[0]}")
        except (PackageNotFoundError, ValueError):
            continue
    return found


def _conftests(path: Path, root: Path) -> list[Path]:
    """Return every conftest.py whose fixtures a test file may use."""
    folders = [f for f in path.parents if f.is_relative_to(root)]
    return [f / "conftest.py" for f in folders if (f / "conftest.py").exists()]


class _File:
    """What is known of one file: two digests, and what it names.

    code, text = digest without and with comments and docstrings
    imports    = the files that it imports, or loads as pytest's plugins
    names      = all files it depends on directly
    reads_text = whether it may read the text of modules
    """

    def __init__(self, path: Path, root: Path):
        data = path.read_bytes()
        self.code = self.text = hashlib.sha256(data).hexdigest()
        self.names, self.imports, self.reads_text = set(), set(), False
        if path.suffix != ".py":
            return
        tree = _without_docstrings(ast.parse(data))
        self.code = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
        self.imports = _imported(tree, path, root) - {path}
        self.names = _named(tree, path, root) - {path}
        self.reads_text = any(_reads_text(node) for node in ast.walk(tree))


@functools.lru_cache(maxsize=1024)
def _read(path: Path, root: Path, stamp: int) -> _File:
    return _File(path, root)


DOCUMENTED = (
    ast.Module,
    ast.ClassDef,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, False):
            node.body = node.body[1:]
    return tree


def _reads_text(node) -> bool:
    """Whether it asks a module for its file, source or docstring.

    A file that asks for its own place (`__file__`) looks for a neighbour.
    """
    if isinstance(node, ast.Attribute):
        return node.attr in READERS and isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Name):
        return node.id in READERS - {"__file__"}
    return isinstance(node, ast.alias) and node.name in READERS


def _imported(tree: ast.AST, path: Path, root: Path) -> set[Path]:
    """Return the files that the code imports, or loads as plugins."""
    module = imports.module_name(path, root).split(".")
    names = imports.names(tree, module, path.stem)
    names.add(".".join(module[:-1]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and "pytest_plugins" in {
            getattr(target, "id", "") for target in node.targets
        }:
            names |= set(MODULE.findall(ast.unparse(node.value)))
    return set().union(*(files_of(name, root) for name in names))


def _named(tree: ast.AST, path: Path, root: Path) -> set[Path]:
    """Return the files that the code imports or that its strings name."""
    found = _imported(tree, path, root)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found |= _of_f_string(node, root)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= _of_string(node.value, path, root)
        elif isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            found |= set(path.parent.rglob("*.py"))  # names made on demand
    return found


def files_of(name: str, root: Path) -> set[Path]:
    """Return what importing a dotted name runs: packages, then the module.

    What follows the module, such as a function's name, is left out.
    """
    words = name.split(".")
    found, place = set(), root / HOMES.get(words[0], "nowhere")
    for word in words:
        if not place.is_dir():
            break
        place = place / word
        either = place.with_name(f"{word}.py"), place / "__init__.py"
        found |= {file for file in either if file.is_file()}
    return found


def _of_string(text: str, path: Path, root: Path) -> set[Path]:
    """Return the modules and the file that a string names.

    It may be a module, a symbol of one, a path from the project's folder or
    from the file's own, or a program that imports.
    """
    found = set()
    for name in MODULE.findall(text):
        found |= files_of(name, root)
    if "import " in text and any(home in text for home in HOMES):
        try:
            found |= _named(ast.parse(textwrap.dedent(text)), path, root)
        except SyntaxError:
            pass
    if text and "\n" not in text and "\0" not in text and len(text) < 200:
        found |= {
            file.resolve()
            for file in (root / text, path.parent / text)
            if file.is_file() and file.resolve().is_relative_to(root)
        }
    derived = root / DERIVED
    return {file for file in found if not file.is_relative_to(derived)}


def _of_f_string(node: ast.JoinedStr, root: Path) -> set[Path]:
    """Return all modules below a package to which a name is joined."""
    found = set()
    for part in node.values:
        if isinstance(part, ast.Constant) and (m := PREFIX.search(part.value)):
            words = m[1].split(".")
            folder = root.joinpath(HOMES[words[0]], *words)
            found |= set(folder.rglob("*.py"))
    return found
