"""Where numba-cuda is missing, as on macOS, what needs it is left out.

That is each test and page whose imports lead, at any depth, to numba's CUDA
target. What is left out is listed at the top of the run.
"""

import ast
import functools
import importlib.util
import re
import textwrap
from pathlib import Path

from llmnotes._site import imports

ROOT = Path(__file__).parents[1]
TARGET = "numba.cuda."
FENCE = re.compile(r"^ *(`{3,}) *python\b[^\n]*\n(.*?)^ *\1", re.M | re.S)
EMBEDDED = re.compile(r'^ *;?--8<-- "([\w.]+):[^\n]*$', re.M)


def missing() -> bool:
    """Whether numba has no CUDA target here."""
    return importlib.util.find_spec("numba_cuda") is None


def needing(root: Path) -> list[Path]:
    """Return the files of tests and pages that need the CUDA target."""
    tests = imports.python_files(root / "tests")
    code = imports.python_files(root / imports.CODE)
    names = {path: imports.imported(path, root) for path in [*code, *tests]}
    tree = imports.tree_of(root, Path("tests"))
    target = {
        imports.module_name(path, root)
        for path, found in names.items()
        if any(map(_is_target, found))
    }
    pages = {
        path: named_by_fences(path)
        for path in sorted((root / "docs").rglob("*.md"))
    }
    return [
        path
        for path, found in [*((t, names[t]) for t in tests), *pages.items()]
        if any(map(_is_target, found))
        or target
        & imports.reach({imports.longest(name, tree) for name in found}, tree)
    ]


def named_by_fences(page: Path) -> set[str]:
    """Return what the Python of a page imports, and the modules it shows."""
    found = set()
    for _, body in FENCE.findall(page.read_text(encoding="utf-8")):
        found |= set(EMBEDDED.findall(body))
        code = textwrap.dedent(EMBEDDED.sub("", body))
        found |= imports.names(ast.parse(code), [page.stem])
    return found


def _is_target(name: str) -> bool:
    return f"{name}.".startswith(TARGET)


@functools.cache
def left_out() -> list[Path]:
    """Return what this run leaves out."""
    return needing(ROOT) if missing() else []


def pytest_ignore_collect(collection_path):
    """Leave a file out before it is imported."""
    return True if collection_path in left_out() else None


def pytest_report_header():
    """List what is left out."""
    files = [path.relative_to(ROOT).as_posix() for path in left_out()]
    if files:
        return f"no numba-cuda here, so without {', '.join(files)}"
    return None
