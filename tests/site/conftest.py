"""A tiny site with the real extensions, built strictly as the book is."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from mkdocs.__main__ import cli

from llmnotes._site import math, results

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
site_name: Tiny
site_url: https://example.org/
repo_url: https://example.org/repository
edit_uri: edit/main/docs/
theme: {name: null, custom_dir: theme}
plugins: []
validation: {links: {not_found: warn, anchors: warn}}
extra:
  book:
    basics: {first: First, second: Second, third: Third steps}
    later: {last: The last one}
markdown_extensions:
  - attr_list
  - md_in_html
  - tables
  - pymdownx.arithmatex: {generic: true}
  - pymdownx.highlight
  - pymdownx.tabbed: {alternate_style: true}
  - pymdownx.snippets: {check_paths: true}
  - pymdownx.superfences:
      custom_fences:
        - name: results
          class: results
          format: !!python/name:llmnotes._site.charts.fence
        - name: grid
          class: grid
          format: !!python/name:llmnotes._site.grids.fence
        - name: map
          class: map
          format: !!python/name:llmnotes._site.chapters.map_fence
  - llmnotes._site.repository
  - llmnotes._site.overviews
  - llmnotes._site.llms
  - llmnotes._site.symbols
  - llmnotes._site.math
  - llmnotes._site.numbers
  - llmnotes._site.chapters
"""


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
            if "__".join(name.parts) not in {"index", *pages}:
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
    made.write("mkdocs.yml", CONFIG)
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
