"""The gallery holds every component that a page may use.

A component is a kind of element with its classes: `figure.chart`. So the
browser, which visits the gallery, has seen each by day and by night.
"""

import pytest

from llmnotes._site import book, charts, fences, grids
from tests.site import built, serving, test_browser
from tests.site.built import classes, outside

GALLERY = "gallery/"
WRITTEN = serving.source(GALLERY).read_text("utf-8")
# What no author writes, and where the browser sees it instead: the lines
# under a chapter's title, the fold at its end, the long listings of a results
# page, the figures and files of a notebook.
MADE = {
    "p.standfirst",
    "p.chapter",
    "p.corrected",
    "details.homes",
    "p.results-title",
    "p.files",
    "figure.chart.plot",
}


def component(element) -> str:
    return ".".join([element.tag, *sorted(classes(element))])


def components(url: str) -> set[str]:
    """The components of a page; not the words of its code and drawings."""

    def skip(e):
        return component(e) in MADE or e.tag in ("pre", "svg", "math")

    found = map(component, outside(built.page(url).article, skip))
    return {c for c in found if not c.startswith("span.")}


def blocks(language: str) -> list[fences.Block]:
    """The gallery's fences in a language."""
    found = fences.blocks(WRITTEN.split("\n"))
    return [block for block in found if block.language == language]


def options(name: str) -> set[str]:
    """The options that the gallery's fences of a name give."""
    lines = "\n".join(block.body() for block in blocks(name)).split("\n")
    return {line.partition(":")[0] for line in lines}


def custom_fences() -> list[str]:
    """The languages that mkdocs.yml gives a meaning of our own."""
    (found,) = (
        options["custom_fences"]
        for extension in book.config(serving.ROOT)["markdown_extensions"]
        if isinstance(extension, dict)
        for options in extension.values()
        if "custom_fences" in options
    )
    return [fence["name"] for fence in found if fence["name"] != "*"]


@pytest.mark.parametrize("url", serving.pages(), ids=lambda url: url or "home")
def test_no_page_uses_a_component_that_the_gallery_lacks(url):
    assert components(url) - components(GALLERY) == set()


@pytest.mark.parametrize("name", sorted(MADE))
def test_what_no_author_writes_is_on_a_page_that_the_browser_visits(name):
    visited = [built.page(url) for url in test_browser.ALWAYS]
    assert any(
        component(e) == name for page in visited for e in page.article.iter()
    )


@pytest.mark.parametrize("name", custom_fences())
def test_every_fence_of_our_own_is_there(name):
    assert blocks(name)


def test_every_option_of_a_results_fence_and_of_a_grid_is_there():
    assert charts.OPTIONS - options("results") == set()
    assert grids.OPTIONS - options("grid") == set()


def test_what_the_gallery_says_one_writes_is_what_it_shows():
    examples = blocks("markdown")
    assert len(examples) > 10
    rest = WRITTEN
    for block in examples:
        _, _, rest = rest.partition(f"{block.text()}\n\n")
        assert rest.startswith(
            f"{block.body()}\n".replace(";--8<--", "--8<--")
        )
