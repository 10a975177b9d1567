"""A tiny site with the real extensions, built strictly as the book is."""

import functools
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from mkdocs.__main__ import cli
from mkdocs.utils import yaml_load

from llmnotes._site import math, results

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = "includes/glossary.md"
TINY = {
    "site_name": "Tiny",
    "site_url": "https://example.org/",
    "repo_url": "https://example.org/repository",
    "repo_name": None,
    "edit_uri": "edit/main/docs/",
    "theme": {"name": None, "custom_dir": "theme"},
    "plugins": [],
    "not_in_nav": "*.md",
    "extra": {
        "book": {
            "basics": {
                "first": "First",
                "second": "Second",
                "third": "Third steps",
            },
            "later": {"last": "The last one"},
        }
    },
}
# The theme and the templates of the book, its pages and its notebooks.
LEFT_OUT = "nav", "hooks", "watch", "extra_css", "extra_templates"


@functools.cache
def config():
    """mkdocs.yml of the book, but for what makes it this book."""
    with (ROOT / "mkdocs.yml").open(encoding="utf-8") as ours:
        book = {**yaml_load(ours), **TINY}
    kept = {name: book[name] for name in book if name not in LEFT_OUT}
    return yaml.dump(kept, sort_keys=False)


@dataclass
class Site:
    """A repository in a temporary folder."""

    root: Path

    def write(self, path, text):
        """Write a file of the repository."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return place

    def build(self, **pages):
        """Write pages (`a__b` is docs/a/b.md), build; exit code, output."""
        for name, text in pages.items():
            self.write(f"docs/{name.replace('__', '/')}.md", text)
        self.write("docs/index.md", "# Home\n")
        for old in self.root.glob("docs/**/*.md"):
            name = old.relative_to(self.root / "docs").with_suffix("")
            kept = {"index", "includes__glossary", *pages}
            if "__".join(name.parts) not in kept:
                old.unlink()  # of an earlier test
        for told_once in logging.getLogger("mkdocs.commands.build").filters:
            told_once.msgs.clear()
        command = ["build", "--strict", "-f", str(self.root / "mkdocs.yml")]
        run = CliRunner().invoke(cli, command)
        return run.exit_code, run.output

    def html(self, page, text, **others):
        """Build pages that must succeed; return the HTML of the first."""
        code, output = self.build(**{page: text}, **others)
        assert code == 0, output
        built = self.root / "site" / page.replace("__", "/") / "index.html"
        return built.read_text(encoding="utf-8")

    def failure(self, page, text):
        """Build one page that must fail; return what is said about it."""
        code, output = self.build(**{page: text})
        assert code == 1, output
        assert "Traceback" not in output
        uri = f"{page.replace('__', '/')}.md"
        lines = [line for line in output.splitlines() if f" {uri}: " in line]
        assert len(lines) == 1, output
        return lines[0].partition(f"{uri}: ")[2]


def new_site(root):
    """A repository without pages, with KaTeX as it is set up here."""
    made = Site(root)
    made.write("mkdocs.yml", config())
    made.write(f"docs/{GLOSSARY}", "")
    made.write("theme/main.html", "{{ page.content }}")
    katex = root / math.HOME
    katex.parent.mkdir(parents=True)
    katex.symlink_to(ROOT / math.HOME)
    return made


@pytest.fixture
def site(tmp_path):
    """A tiny site, new for each test."""
    return new_site(tmp_path)


@pytest.fixture(scope="session")
def result():
    """Times of two methods at three lengths, as a valid result."""
    rows = [
        [n, method, seconds * n]
        for n in (512, 1024, 2048)
        for method, seconds in (("naive", 2e-5), ("flash", 5e-6))
    ]
    return {
        "kind": "timing",
        "title": "Flash needs a quarter of the time",
        "prediction": "Both grow with `n`; flash < naive",
        "command": "make bench name=basics/first",
        "seed": 0,
        "run": {
            "date": "2026-01-02",
            "commit": "abcdef0123",
            "cpu": "Abacus 3000",
            "gpu": None,
            "cores": 2,
            "threads": 1,
            "os": "Linux x86_64",
            "versions": {"python": "3.11.7", "torch": "2.13.0"},
        },
        "columns": [
            {"name": "n", "unit": "tokens", "label": "length N"},
            {"name": "method", "unit": ""},
            {"name": "seconds", "unit": "s", "label": "time"},
        ],
        "rows": rows,
    }


def add_results(site, result):
    """Put the result basics/first:speed into the site."""
    data = {
        "schema": 1,
        "chapter": "basics/first",
        "results": {"speed": result},
    }
    results.validate(data)
    site.write("docs/results/basics/first.json", json.dumps(data))
    return site


@pytest.fixture
def with_results(site, result):
    """The tiny site with the result basics/first:speed."""
    return add_results(site, result)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, result):
    """The same, for tests of one module that only add pages to it."""
    return add_results(new_site(tmp_path_factory.mktemp("shared")), result)
