"""What can be seen in the HTML of the site, proved for every page.

Here no browser is asked: it visits a few pages only (test_browser.py).
"""

import re
from itertools import pairwise
from urllib.parse import urldefrag

import pytest

from tests.site import built, serving
from tests.site.built import classes, of_class, outside, text

HEAVIEST = 200_000  # bytes over the wire on a first visit
COLOUR = re.compile(r"currentcolor|none|inherit|transparent|var\(--[^)]+\)")
PAINT = re.compile(r"(?<![\w-])(?:fill|stroke|color):\s*([^;]+)")
# What Material's script would load from elsewhere, and for which elements.
ASKS_OTHERS = [("mermaid", "class"), ("source", "data-md-component")]
TEX = re.compile(r"\\[a-zA-Z]{2,}|\\[()\[\]]|\$\$|(?<!\w)\$[^$\n]+\$(?!\w)")
REFERRING = ("aria-labelledby", "aria-describedby", "aria-controls")
LISTS = {"ul": {"li"}, "ol": {"li"}, "dl": {"dt", "dd", "div"}}
PRESSED = {"a", "button", "summary", "label"}


@pytest.fixture(params=serving.pages(), ids=lambda url: url or "home")
def page(request):
    return built.page(request.param)


@pytest.fixture(params=serving.chapters() + serving.notebooks())
def chapter(request):
    return built.page(request.param)


def is_code(element):
    return element.tag in ("pre", "code")


def is_drawn(element):
    """Whether an element stands inside a formula or a drawing."""
    return element.tag == "svg" or "katex" in classes(element)


def name_of(element) -> str:
    """What a screen reader says for a link, a picture or a button."""
    pictures = (
        e.get("alt") or e.get("aria-label", "") for e in element.iter()
    )
    label = element.get("aria-label") or element.get("title", "")
    return (label or text(element) or "".join(pictures)).strip()


def test_every_element_is_closed_and_no_attribute_given_twice(page):
    assert page.faults == []


def test_the_page_says_its_language_and_title(page):
    title = text(next(page.root.iter("title")))
    assert page.root.get("lang") == "en"
    assert title.endswith("llmnotes")


# What is loaded ------------------------------------------------------------


def test_nothing_is_asked_of_other_sites(page):
    assert [u for u in built.asked_by(page.root) if built.is_foreign(u)] == []
    sheets = [f for f in page.files if f.endswith(".css")]
    styles = [(built.home() / sheet).read_text("utf-8") for sheet in sheets]
    loaded = [u for css in styles for u in built.css_urls(css)]
    assert [u for u in loaded if built.is_foreign(u)] == []


def test_no_script_has_a_reason_to_ask_other_sites(page):
    for word, attribute in ASKS_OTHERS:
        asking = [e for e in page.root.iter() if e.get(attribute) == word]
        assert asking == []
    inline = "".join(text(e) for e in page.root.iter("script") if not e.attrib)
    ours = (built.home() / "assets/book.js").read_text("utf-8")
    assert not re.search(r"https?://", inline + ours)


def test_everything_that_is_loaded_is_there(page):
    missing = [
        file for file in page.files[1:] if not (built.home() / file).is_file()
    ]
    assert missing == []


def test_a_chapter_weighs_less_than_200_kB(chapter):
    weights = {file: serving.weight(file) for file in chapter.files}
    assert all(weights.values())
    assert sum(weights.values()) < HEAVIEST


def test_every_picture_keeps_its_place_while_it_loads(page):
    for picture in page.article.iter("img"):
        assert picture.get("width") and picture.get("height")
    for drawing in page.article.iter("svg"):
        assert drawing.get("viewbox")


def test_every_link_leads_somewhere(page):
    for link in page.root.iter("a"):
        address, fragment = urldefrag(link.get("href", "#"))
        if built.is_foreign(address):
            continue
        there = page.local(address) if address else page.url
        if (built.home() / there / "index.html").is_file():
            ids = built.page(there).ids
            assert not fragment or fragment in ids, link.get("href")
        else:
            assert (built.home() / there).is_file(), link.get("href")


# Without scripts -----------------------------------------------------------


def test_a_chapter_holds_code_and_formulas_before_any_script_runs(chapter):
    assert next(of_class(chapter.article, "highlight"), None) is not None
    if chapter.url in serving.chapters():
        assert next(of_class(chapter.article, "katex-html"), None) is not None
    assert [e for e in chapter.article.iter() if "hidden" in e.attrib] == []


def test_every_formula_is_rendered_for_the_eye_and_for_the_ear(page):
    for formula in of_class(page.article, "arithmatex"):
        (spoken,) = formula.iter("math")
        (shown,) = of_class(formula, "katex-html")
        assert text(next(spoken.iter("annotation"))).strip()
        assert shown.get("aria-hidden") == "true" and text(shown)
    assert [*of_class(page.root, "katex-error")] == []


def test_no_tex_is_left_in_the_text(page):
    prose = text(page.article, lambda e: is_code(e) or is_drawn(e))
    assert TEX.findall(prose) == []


def test_where_there_are_formulas_their_style_and_faces_come_early(page):
    formulas = [*of_class(page.article, "katex")]
    head = [e.get("href") for e in page.root.find("head") if e.tag == "link"]
    early = [page.local(u) for u in head if "assets/katex/" in (u or "")]
    fonts = "assets/katex/fonts/KaTeX_"
    wanted = [
        "assets/katex/katex.css",
        f"{fonts}Main-Regular.woff2",
        f"{fonts}Math-Italic.woff2",
    ]
    assert early == (wanted if formulas else [])


# For readers who do not look at it, or not with a mouse --------------------


def test_a_page_has_one_title_and_headings_go_down_one_step_at_a_time(page):
    headings = [e for e in page.root.iter() if re.fullmatch("h[1-6]", e.tag)]
    assert all(text(e).replace("¶", "").strip() for e in headings)
    levels = [int(e.tag[1]) for e in headings]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_an_id_is_given_once_and_whatever_is_referred_to_exists(page):
    assert len(page.ids) == len(set(page.ids))
    for e in page.root.iter():
        wanted = [i for name in REFERRING for i in e.get(name, "").split()]
        for name, value in e.attrib.items():
            wanted += re.findall(r"url\(#([^)]+)\)", value)
            if e.tag == "use" and name.endswith("href"):
                wanted.append(value.removeprefix("#"))
        assert set(wanted) <= set(page.ids)
    for label in page.article.iter("label"):
        assert label.get("for") in page.ids


def test_every_picture_has_words(page):
    for picture in page.article.iter("img"):
        assert picture.get("alt", "").strip()
    for figure in page.article.iter("figure"):
        worded = [e for e in figure.iter() if is_worded(e)]
        inside = {id(e) for box in worded for e in box.iter("svg")}
        assert all(id(drawing) in inside for drawing in figure.iter("svg"))


def is_worded(element) -> bool:
    """Whether a screen reader says in words what stands here.

    A group's links are read, too.
    """
    words = element.get("aria-label", "").strip()
    return bool(words) and element.get("role") in ("img", "group")


def test_drawings_take_their_colours_from_the_page(page):
    """The browser finds those readable, by day and by night."""
    for drawing in page.article.iter("svg"):
        for e in drawing.iter():
            paints = [e.get(name, "") for name in ("fill", "stroke", "color")]
            paints += PAINT.findall(e.get("style", ""))
            if e.tag == "style":
                paints += PAINT.findall(text(e))
            for paint in filter(None, map(str.strip, paints)):
                assert COLOUR.fullmatch(paint.lower()), paint


def test_no_word_of_a_page_has_a_colour_of_its_own(page):
    for e in outside(page.article, is_drawn):
        assert not PAINT.search(e.get("style", ""))


def test_every_table_has_heads_for_its_columns(page):
    for table in page.article.iter("table"):
        heads = [*table.find("thead").iter("th")]
        rows = [*table.find("tbody")]
        assert heads and all(text(head).strip() for head in heads)
        assert rows and all(len(row) == len(heads) for row in rows)
        if "results" in classes(table):
            assert text(table.find("caption")).strip()
            assert all(head.get("scope") == "col" for head in heads)
            assert all(row[0].get("scope") == "row" for row in rows)


def test_whatever_can_be_pressed_has_a_name_and_stands_alone(page):
    for e in page.article.iter():
        if e.tag in ("a", "button", "summary"):
            assert name_of(e), e.attrib
        if e.tag in PRESSED:
            inside = {child.tag for child in e.iter()} - {e.tag}
            assert not inside & PRESSED
        assert int(e.get("tabindex", 0)) <= 0


def test_lists_hold_items_only(page):
    for e in page.root.iter():
        if e.tag in LISTS:
            assert {child.tag for child in e} <= LISTS[e.tag]


def test_what_scrolls_by_itself_can_be_reached_and_has_a_name(page):
    for e in page.article.iter():
        if {"results-table", "results-text"} & classes(e):
            assert e.get("tabindex") == "0" and e.get("role") == "group"
            assert e.get("aria-label", "").strip()
