"""What a Python file imports, read from its text: nothing is run.

name = dotted name of a module, or of something in it: `from a.b import c`
       names `a.b.c`, for only the tree knows whether `c` is a module
"""

import ast
from collections.abc import Iterable
from pathlib import Path

PACKAGE = "llmnotes"
CODE = Path("src", PACKAGE)


def python_files(folder: Path) -> list[Path]:
    """Return the modules below a folder, without what editors leave."""
    return [
        path
        for path in sorted(folder.rglob("*.py"))
        if not any(
            word.startswith(".") for word in path.relative_to(folder).parts
        )
    ]


def imported(path: Path, root: Path) -> set[str]:
    """Return the names that a file below `root` imports, wherever it does.

    Raises `ValueError` that names file and line if it is not Python.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        where = f"{path.relative_to(root)}, line {error.lineno}"
        raise ValueError(f"{where}: {error.msg}") from None
    return names(tree, module_name(path, root).split("."), path.stem)


def names(tree: ast.AST, module: list[str], stem: str = "") -> set[str]:
    """Return the names that code imports; `module` holds its own words."""
    package = module if stem == "__init__" else module[:-1]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1]
            start = [*(above if node.level else ()), node.module]
            words = [word for word in start if word]
            found |= {".".join([*words, alias.name]) for alias in node.names}
    return found


def module_name(path: Path, root: Path) -> str:
    """Return the dotted name of a file below root/src, or below root."""
    home = root / "src" if path.is_relative_to(root / "src") else root
    words = path.relative_to(home).with_suffix("").parts
    return ".".join(words[:-1] if words[-1] == "__init__" else words)


def tree_of(root: Path, *folders: Path) -> dict[str, set[str]]:
    """Return {module: modules of the package that it imports}.

    Modules in other folders, such as the tests', count as well if named.

    A package that lies around an imported module is not counted: its
    `__init__` hands on names and needs nothing of who asks.
    """
    files = {
        module_name(path, root): path
        for folder in (CODE, *folders)
        for path in python_files(root / folder)
    }
    return {
        module: {
            known
            for name in imported(path, root)
            if (known := longest(name, files)) and known != module
        }
        for module, path in files.items()
    }


def longest(name: str, modules: Iterable[str]) -> str:
    """Return the module that a name leads to, or nothing."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def reach(start: set[str], tree: dict[str, set[str]]) -> set[str]:
    """Return `start` and every module that it needs, at any depth."""
    seen, queue = set(), list(start)
    while queue:
        module = queue.pop()
        if module not in seen:
            seen.add(module)
            queue += tree.get(module, ())
    return seen


def circles(tree: dict[str, set[str]]) -> list[str]:
    """Name the modules that need themselves, each with what leads back."""
    return [
        f"{module} imports {' and '.join(sorted(back))}, which need it"
        for module, targets in tree.items()
        if (back := {t for t in targets if module in reach({t}, tree)})
    ]
