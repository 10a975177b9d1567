"""Shapes are checked while tests run, in every module that can bear it.

jaxtyping's hook wraps what a module defines when it is imported, so the hook
comes first. Which modules is read from the tree: all of the book but those
that take names from numba, which compiles functions, not their wrappers.
JAXTYPING_DISABLE=1 leaves the hook out, so that a race times the code as its
users get it: even a wrapper that does nothing costs half a microsecond a call.
"""

import ast
import os
import sys
from pathlib import Path

from jaxtyping import install_import_hook

from llmnotes._site.imports import CODE, PACKAGE, module_name, python_files

ROOT = Path(__file__).parents[1]
# As everywhere in Python's types, an int will do where a float is expected.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"


def book_modules(root: Path) -> dict[str, Path]:
    """Return {module: file} of parts, shared folders and root modules.

    Not packages' `__init__`: to hook one is to hook all that lies below it.
    """
    return {
        module_name(path, root): path
        for path in python_files(root / CODE)
        if path.stem != "__init__"
        if not path.is_relative_to(root / CODE / "_site")
    }


def compiles(path: Path) -> bool:
    """Whether a module takes names from numba as soon as it is imported."""
    statements = ast.parse(path.read_bytes()).body
    return any(
        isinstance(node, ast.ImportFrom)
        and f"{node.module}.".startswith("numba.")
        for node in statements
    )


def install(root: Path) -> None:
    """Check the shapes of the modules below root from now on."""
    hooked = [m for m, p in book_modules(root).items() if not compiles(p)]
    if early := sorted(sys.modules.keys() & set(hooked)):
        raise RuntimeError(
            f"{PACKAGE}: {early[0]} was imported before the hook that checks "
            "shapes; expected tests.shapes to be the first plugin"
        )
    install_import_hook(hooked, CHECKER)


if os.environ.get("JAXTYPING_DISABLE") != "1":
    install(ROOT)
