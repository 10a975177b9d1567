"""MkDocs hook: mkdocs-jupyter runs a notebook, we make its page.

Its own pages carry 570 kB of JupyterLab's styles, look foreign, and load
MathJax and Mermaid from elsewhere. The two templates beside this file hand
the notebook over as it ran; written as Markdown, it becomes a page like the
others: the same extensions, checked links, code blocks, search, colours.

A notebook runs again when it, what it imports or a library has changed.
"""

import ast
import functools
import hashlib
import html
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import jupytext
import mkdocs_jupyter.config
import nbformat
from mkdocs.structure.pages import Page
from mkdocs_jupyter.plugin import NotebookFile
from nbclient.exceptions import CellExecutionError

from llmnotes._site.notebooks import cells
from llmnotes._site.page import PageError

LIBRARIES = ("matplotlib", "numba", "numpy", "torch")
KEPT = Path("build/notebooks")  # relative to the repository; git ignores it


def on_config(config):
    """Hand mkdocs-jupyter our templates, and a cache that knows the code."""
    here = str(Path(__file__).parent)
    mkdocs_jupyter.config.settings.templates_dir = here
    os.environ["JUPYTER_CONFIG_PATH"] = here  # kernels start without a word
    root = Path(config.config_file_path).parent
    config.plugins["mkdocs-jupyter"].config["cache_dir"] = str(
        root / KEPT / fingerprint(root)
    )
    return config


def fingerprint(root: Path) -> str:
    """Return a name for the code and the libraries that notebooks run on."""
    found = hashlib.sha256(sys.version.encode())
    for name in LIBRARIES:
        found.update(version(name).encode())
    package = root / "src/llmnotes"
    for path in imported(package, *root.glob("docs/notebooks/*.py")):
        found.update(path.relative_to(package).as_posix().encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def imported(package: Path, *files: Path) -> list[Path]:
    """Return the modules of a package that files import, near and far."""
    found, queue = set(), list(files)
    while queue:
        tree = ast.parse(queue.pop().read_text(encoding="utf-8"))
        for name in names(tree):
            path = package.parent.joinpath(*name.split("."))
            for module in (path.with_suffix(".py"), path / "__init__.py"):
                inside = package in module.parents and module.exists()
                if inside and module not in found:
                    found.add(module)
                    queue.append(module)
    return sorted(found)


def names(tree: ast.AST) -> list[str]:
    """Return every name that could be a module in a file's imports."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def on_pre_page(page, config, files):
    """Put our page in the place of the one that mkdocs-jupyter makes."""
    if isinstance(page.file, NotebookFile):
        run = page.render  # the plugin's, which executes
        page.render = functools.partial(render, page, run)
    return page


def render(page, run, config, files) -> None:
    """Run the notebook, write it as Markdown, and make the page of that."""
    uri = page.file.src_uri
    try:
        run(config, files)
        page.executed = nbformat.from_dict(
            json.loads(html.unescape(page.content))
        )
        page.markdown = cells.markdown(page.executed, Path(uri).stem)
    except CellExecutionError as error:
        what = f"{uri}: a cell fails: {error.ename}: {error.evalue}"
        raise PageError(f"{what}\n{cells.plain(str(error))}") from None
    except cells.CellError as error:
        raise PageError(f"{uri}: {error}") from None
    Page.render(page, config, files)


def on_post_page(output, page, config):
    """Lay the notebook, with what it printed, beside its page."""
    if isinstance(page.file, NotebookFile):
        place = Path(page.file.abs_dest_path).parent
        place.mkdir(parents=True, exist_ok=True)
        name = Path(page.file.src_uri).with_suffix(".ipynb").name
        jupytext.write(cells.tidy(page.executed), place / name)
    return output
