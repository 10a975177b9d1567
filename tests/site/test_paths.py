"""A page names no file, module or symbol that is not there."""

import re

import pytest

from llmnotes._site import book, imports
from tests.site.conftest import ROOT

TREES = "src|tests|docs|overrides"
PATH = re.compile(rf"(?<![\w/.-])(?:{TREES})/[\w./*<>{{}}-]*[\w*/>}}]")
BARE = re.compile(r"`(\w+\.(?:py|json|md|yml))`")
NAME = re.compile(r"\b(?:llmnotes|tests)(?:\.[A-Za-z_]\w*)+\b(?![\w.]*/)")
TEXTS = [
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("docs/notebooks/*.py")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted(ROOT.glob("src/**/*.py")),
]
# The homes of any chapter, as <part>/<slug> or {part}/{slug}.
PATTERN = re.compile(r"[<{]")


@pytest.fixture(scope="module")
def modules():
    """{name: text} of every module of the package and of the tests."""
    return {
        imports.module_name(path, ROOT): path.read_text(encoding="utf-8")
        for folder in (imports.CODE, "tests")
        for path in imports.python_files(ROOT / folder)
    }


@pytest.fixture(scope="module")
def files():
    """Every file of the trees, and those that a benchmark would write."""
    found = {ROOT / "mkdocs.yml", ROOT / "conftest.py"}
    for tree in TREES.split("|"):
        found |= {path for path in (ROOT / tree).rglob("*") if path.is_file()}
    benches = [path for path in found if path.name.startswith("bench_")]
    return found | {
        ROOT / book.results_of(path.relative_to(ROOT)) for path in benches
    }


def lost_paths(text, files):
    """Name the paths in a text that lead to nothing."""
    folders = {folder for file in files for folder in file.parents}
    return [
        path
        for path in PATH.findall(text)
        if not PATTERN.search(path)
        if ROOT / path not in files | folders
        and not any(ROOT.glob(path.rstrip("/")))
    ]


def lost_files(text, files):
    """Name the files that a page calls by their name alone."""
    return [name for name in BARE.findall(text) if name not in names(files)]


def names(files):
    return {file.name for file in files}


def lost_names(text, modules):
    """Name the dotted names in a text that no module or symbol has."""
    lost = []
    for name in NAME.findall(text):
        module = imports.longest(name, modules)
        symbol = name[len(module) + 1 :].partition(".")[0]
        if not module or not re.search(rf"\b{symbol}\b", modules[module]):
            lost.append(name)
    return lost


@pytest.mark.parametrize(
    "path", TEXTS, ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_what_a_text_names_is_there(path, files, modules):
    text = path.read_text(encoding="utf-8")
    assert lost_paths(text, files) == []
    if path.suffix == ".md":  # a docstring may name a file by others
        assert lost_files(text, files) == []
        assert lost_names(text, modules) == []


@pytest.mark.parametrize(
    "text",
    [
        "`tests/transformer/test_gpt_cores.py`",
        "see tests/transformer/gpt/test_cores.py:",
        "`src/llmnotes/transformer/wordpiece.py`",
        "(docs/transformer/gpt2.md)",
        "`tests/transformer/test_gpt*.py`",
        "`gpt2_files.py`",
        "`docs/results/transformer/gpt_gpu.json`",
    ],
)
def test_a_path_that_has_moved_is_found(text, files):
    assert len(lost_paths(text, files) + lost_files(text, files)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "`tests/transformer/gpt/`",
        "`src/llmnotes/transformer/rope.py`.",
        "`tests/<part>/test_<slug>.py`",
        "`docs/results/kernels/flash_attention_cuda_gpu.json`",
        "`tests/transformer/gpt/test_*.py`",
        "/site/docs/nothing.md",
        "https://example.org/docs/nothing.md",
    ],
)
def test_a_path_that_is_there_or_a_pattern_is_no_fault(text, files):
    assert lost_paths(text, files) + lost_files(text, files) == []


@pytest.mark.parametrize(
    "text, lost",
    [
        ("llmnotes.sequence.lstm_loops", 1),
        ("llmnotes.transformer.gpt.model:nothing", 0),  # the build's business
        ("`tests.transformer.test_gpt`", 1),
        ("`llmnotes.transformer.attention.no_such_function`", 1),
        ("`llmnotes.transformer.attention.attention`", 0),
        ("llmnotes.github.io/llmnotes/", 0),
    ],
)
def test_a_module_or_symbol_that_has_moved_is_found(text, lost, modules):
    assert len(lost_names(text, modules)) == lost
