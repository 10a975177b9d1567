"""The gallery holds every component that a page may use.

A component is a kind of element with its classes: `figure.chart`. So the
browser, which visits the gallery, has seen each by day and by night.
"""

import pytest

from llmnotes._site import book, charts, grids, symbols
from tests.site import built, serving
from tests.site.built import classes, outside

GALLERY = "gallery/"
WRITTEN = serving.source(GALLERY).read_text("utf-8")
# What no author writes: the box under a chapter's title and the command at its
# end, the figures and files of a notebook, and the title of a very long table
# on a page of results. The browser sees them where they are made.
MADE = {
    "aside.homes",
    "figure.chart.plot",
    "p.files",
    "p.proof",
    "p.results-title",
}
KINDS = ("line", "scatter", "bar")


def component(element) -> str:
    return ".".join([element.tag, *sorted(classes(element))])


def components(url: str) -> set[str]:
    """The components of a page; not the words of its code and drawings."""

    def skip(e):
        return component(e) in MADE or e.tag in ("pre", "svg", "math")

    found = map(component, outside(built.page(url).article, skip))
    return {c for c in found if not c.startswith("span.")}


def fences(language: str) -> list[str]:
    """The bodies of the gallery's fences in a language."""
    blocks = symbols.blocks(WRITTEN.split("\n"))
    return [
        "\n".join(block.lines)
        for block in blocks
        if block.opening and block.opening["info"].split()[:1] == [language]
    ]


def custom_fences() -> list[str]:
    """The languages that mkdocs.yml gives a meaning of our own."""
    (found,) = (
        options["custom_fences"]
        for extension in book.config(serving.ROOT)["markdown_extensions"]
        if isinstance(extension, dict)
        for options in extension.values()
        if "custom_fences" in options
    )
    return [fence["name"] for fence in found]


@pytest.mark.parametrize("url", serving.pages(), ids=lambda url: url or "home")
def test_no_page_uses_a_component_that_the_gallery_lacks(url):
    assert components(url) - components(GALLERY) == set()


@pytest.mark.parametrize("name", custom_fences())
def test_every_fence_of_our_own_is_there(name):
    assert fences(name)


@pytest.mark.parametrize("option", sorted(charts.OPTIONS))
def test_every_option_of_a_results_fence_is_there(option):
    lines = "\n".join(fences("results")).split("\n")
    assert any(line.startswith(f"{option}:") for line in lines)


@pytest.mark.parametrize("option", sorted(grids.OPTIONS))
def test_every_option_of_a_grid_is_there(option):
    lines = "\n".join(fences("grid")).split("\n")
    assert any(line.startswith(f"{option}:") for line in lines)


def test_what_the_gallery_says_one_writes_is_what_it_shows():
    shown = 0
    blocks = [*symbols.blocks(WRITTEN.split("\n"))]
    text = WRITTEN
    for block in blocks:
        if block.opening and block.opening["info"].strip() == "markdown":
            said = "\n".join(block.lines).replace(";--8<--", "--8<--")
            ticks = block.opening["ticks"]
            _, _, text = text.partition(f"\n{ticks}\n\n")
            assert text.startswith(f"{said}\n"), said
            shown += 1
    assert shown >= 10
