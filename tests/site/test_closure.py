"""What a file depends on: nothing that could change its outcome is missed."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from llmnotes._site import closure

ROOT = Path(__file__).resolve().parents[2]
BENCHES = sorted(ROOT.glob("tests/*/**/bench_*.py"))
FILES = {
    "constraints.txt": "numpy==1\n",
    "docs/page.md": "# Page\n",
    "src/llmnotes/__init__.py": "",
    "src/llmnotes/part/__init__.py": "",
    "src/llmnotes/part/slug.py": "from llmnotes.part import inner\n",
    "src/llmnotes/part/inner.py": "def answer():\n    return 41\n",
    "src/llmnotes/part/alone.py": "X = 1\n",
    "src/llmnotes/lazy/__init__.py": "def __getattr__(name):\n    pass\n",
    "src/llmnotes/lazy/found.py": "X = 1\n",
    "tests/conftest.py": "",
    "tests/part/conftest.py": "",
    "tests/part/runs.py": "STEPS = 3\n",
    "tests/part/script.py": "import llmnotes.part.slug\n",
}
BENCH = "tests/part/bench_slug.py"
INNER = "src/llmnotes/part/inner.py"
WAYS = {
    "import llmnotes.part.inner": INNER,
    "import llmnotes.part.inner as i": INNER,
    "from llmnotes.part import inner": INNER,
    "from llmnotes.part.inner import answer": INNER,
    "from llmnotes.part.inner import *": INNER,
    "from llmnotes.part.slug import anything": INNER,
    "import llmnotes.part.slug": "src/llmnotes/__init__.py",
    "from llmnotes.part import slug": "src/llmnotes/part/__init__.py",
    "def later():\n    from llmnotes.part import inner": INNER,
    "if False:\n    import llmnotes.part.inner": INNER,
    "from tests.part.runs import STEPS": "tests/part/runs.py",
    "from .runs import STEPS": "tests/part/runs.py",
    "from . import runs": "tests/part/runs.py",
    "from ..part.runs import STEPS": "tests/part/runs.py",
    "importlib.import_module('llmnotes.part.slug')": INNER,
    "importlib.import_module(f'llmnotes.part.{name}')": INNER,
    "import llmnotes.lazy": "src/llmnotes/lazy/found.py",
    "SHOWN = 'llmnotes.part.inner:answer'": INNER,
    "run('-c', 'from llmnotes.part import inner\\nprint(1)')": INNER,
    "Path(__file__).with_name('script.py')": "tests/part/script.py",
    "run('script.py')": INNER,
    "PAGE = Path('docs/page.md')": "docs/page.md",
    "pass": "tests/conftest.py",
    "...": "tests/part/conftest.py",
}


@pytest.fixture
def project(tmp_path):
    """A small project; `print_of(code)` fingerprints a bench of that code."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path


def print_of(project, code=None):
    bench = project / BENCH
    if code is not None:
        bench.write_text(code + "\n", "utf-8")
    return closure.fingerprint(bench, project)


def edit(project, name, text):
    """Write a file so that its time differs, too."""
    path = project / name
    before = path.stat().st_mtime_ns
    path.write_text(text, "utf-8")
    while path.stat().st_mtime_ns == before:
        path.write_text(text, "utf-8")


@pytest.mark.parametrize("code", WAYS, ids=str)
def test_a_change_in_what_is_imported_or_named_is_noticed(project, code):
    before = print_of(project, code)
    edit(project, WAYS[code], "CHANGED = 1\n")
    assert print_of(project) != before


@pytest.mark.parametrize("code", WAYS, ids=str)
def test_a_change_elsewhere_is_none(project, code):
    before = print_of(project, code)
    if "{name}" not in code:
        edit(project, "src/llmnotes/part/alone.py", "X = 2\n")
        assert print_of(project) == before


def test_a_plugin_is_noticed_and_what_its_strings_name_is_not(project):
    edit(project, "tests/conftest.py", "pytest_plugins = ['tests.part.runs']")
    edit(project, "tests/part/runs.py", "LOADED = ['llmnotes.part.inner']\n")
    before = print_of(project, "pass")
    edit(project, INNER, "CHANGED = 1\n")
    assert print_of(project) == before
    edit(project, "tests/part/runs.py", "LOADED = []\n")
    assert print_of(project) != before


def test_a_change_of_the_bench_itself_is_noticed(project):
    assert print_of(project, "X = 1") != print_of(project, "X = 2")


def test_a_new_file_in_the_place_of_a_package_is_noticed(project):
    before = print_of(project, "import llmnotes.part.fresh")
    (project / "src/llmnotes/part/fresh.py").write_text("X = 1\n")
    edit(project, BENCH, "import llmnotes.part.fresh  # comment\n")
    assert print_of(project) != before


def test_comments_and_docstrings_change_nothing(project):
    before = print_of(project, "from llmnotes.part import inner")
    edit(project, INNER, 'def answer():\n    """Say it."""\n    return 41\n')
    assert print_of(project) == before
    edit(
        project, INNER, '"""Legend."""\n\ndef answer():  # why\n  return 41\n'
    )
    assert print_of(project) == before
    edit(project, INNER, "def answer():\n    return 42\n")
    assert print_of(project) != before


@pytest.mark.parametrize(
    "code",
    [
        "Path(inner.__file__).read_text()",
        "inspect.getsource(inner)",
        "from inspect import getsource",
        "inner.answer.__doc__",
    ],
)
def test_comments_count_where_the_text_is_read(project, code):
    before = print_of(project, f"from llmnotes.part import inner\n{code}")
    edit(project, INNER, "def answer():\n    return 41  # why\n")
    assert print_of(project) != before


def test_another_version_of_what_is_pinned_is_noticed(project, monkeypatch):
    before = print_of(project, "import numpy")
    monkeypatch.setattr(closure, "version", lambda name: "2.0")
    closure._installed.cache_clear()
    assert print_of(project) != before
    closure._installed.cache_clear()


def test_another_python_or_platform_is_noticed(project, monkeypatch):
    before = print_of(project, "import numpy")
    monkeypatch.setattr(closure.platform, "machine", lambda: "abacus")
    other = print_of(project)
    assert other != before
    newer = SimpleNamespace(major=3, minor=99)
    monkeypatch.setattr(closure.sys, "version_info", newer)
    assert print_of(project) != other


def test_results_are_no_part_of_their_own_fingerprint(project):
    path = project / "docs/results/part/slug.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    before = print_of(project, "Path('docs/results/part/slug.json')")
    edit(project, "docs/results/part/slug.json", "{1: 1}")
    assert print_of(project) == before


LOADED = """
import importlib.util, json, sys
from pathlib import Path

root, found = Path.cwd(), {}
mine = lambda name: name.partition(".")[0] in ("llmnotes", "tests")
import torch
for bench in map(Path, sys.argv[1:]):
    for name in filter(mine, list(sys.modules)):
        del sys.modules[name]
    spec = importlib.util.spec_from_file_location("bench", bench)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    found[str(bench)] = [
        m.__file__ for name, m in sys.modules.items()
        if mine(name) and getattr(m, "__file__", None)
    ]
print(json.dumps(found))
"""


def test_every_module_that_a_bench_loads_is_in_its_closure(request):
    """Of the bench that loads most; weekly of each."""
    benches = {len(closure.closure(path, ROOT)): path for path in BENCHES}
    chosen = [benches[max(benches)]]
    done = subprocess.run(
        [sys.executable, "-c", LOADED]
        + [
            str(p) for p in (BENCHES if request.config.option.full else chosen)
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    for bench, loaded in json.loads(done.stdout.splitlines()[-1]).items():
        known = {str(p) for p in closure.closure(Path(bench), ROOT)}
        assert loaded and not set(loaded) - known, bench
