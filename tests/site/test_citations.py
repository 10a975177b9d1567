"""Sources are named where they are cited, and listed where they are read.

A number in brackets means something else on every list: a docstring that is
shown on a page must not carry one.
"""

import ast
import re
from pathlib import Path

import pytest

from llmnotes._site import book

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "llmnotes"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if "_site" not in p.parts)
NUMBER = re.compile(r"(?<=[\s(])\[\d+(?:, ?[^\]]*)?\](?=[\s.:,;)]|$)")
NAME = r"(?:van de |de |von )?[A-Z][\w'’-]+"
CITED = re.compile(
    rf"\b({NAME})(?: et al\.|(?:, {NAME})*,? (?:&|and) {NAME})?,?"
    r" ((?:19|20)\d\d)\b"
)
ENTRY = re.compile(r"^- (.*(?:\n  .*)*)", re.MULTILINE)
ARXIV = re.compile(r"arXiv[\s:]+(\d{4}\.\d{4,5})")


def docstrings(path):
    """All docstrings of a module, its own first."""
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [n for n in ast.walk(tree) if isinstance(n, kinds)]
    return [ast.get_docstring(n) or "" for n in nodes]


def sources(path):
    """The entries of a module's list of sources."""
    _, _, listed = docstrings(path)[0].partition("\nSource")
    return [" ".join(entry.split()) for entry in ENTRY.findall(listed)]


def named(text):
    """First authors and years in a text."""
    return {(m[1], m[2]) for m in CITED.finditer(text)}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_a_docstring_cites_by_name_and_not_by_number(path):
    text = path.read_text("utf-8")
    comments = re.findall(r"#.*", text)
    found = [NUMBER.findall(said) for said in (*docstrings(path), *comments)]
    assert not sum(found, [])


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_what_a_docstring_cites_is_among_its_modules_sources(path):
    listed = named(" ".join(sources(path)))
    for said in docstrings(path)[1:]:
        assert named(said) <= listed


def chapters():
    found = book.graph(ROOT).chapters.values()
    return [c for c in found if (ROOT / "docs" / c.uri).exists()]


def code_of(chapter):
    """The modules of a chapter, those of its folder too."""
    homes = [ROOT / path for path in chapter.homes()["code"]]
    found = [sorted(h.rglob("*.py")) if h.is_dir() else [h] for h in homes]
    return sum(found, [])


@pytest.mark.parametrize("chapter", chapters(), ids=lambda c: c.key)
def test_what_a_chapters_code_is_made_from_is_on_its_page(chapter):
    page = (ROOT / "docs" / chapter.uri).read_text("utf-8")
    papers = [e for p in code_of(chapter) for e in sources(p)]
    missing = [
        entry
        for entry in papers
        if (m := ARXIV.search(entry)) and m[1] not in page
    ]
    assert papers
    assert not missing
