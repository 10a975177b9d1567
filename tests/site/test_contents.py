"""The contents of the book, its parts and its pages; what leads on; 404."""

import re

import pytest

from llmnotes._site import book, social
from tests.site import built, serving
from tests.site.built import classes, of_class, text
from tests.site.conftest import ROOT

CHAPTERS = book.book(ROOT)
WRITTEN = [c for c in CHAPTERS.values() if c.written]
PARTS = list(dict.fromkeys(c.part for c in WRITTEN))


@pytest.fixture
def two(site):
    """First and last are written, second and third are coming."""
    head = "---\ndescription: Why & how.\n---\n\n"
    site.pages = {
        "basics__first": f"{head}# One\n\n## A\n\n## B & `b`\n\n## C\n",
        "later__last": "# Last\n\n## A\n\n## B\n",
        "later__index": "# Later\n",
    }
    for name, words in site.pages.items():
        site.write(f"docs/{name.replace('__', '/')}.md", words)
    return site


def test_the_contents_of_a_part_number_describe_and_name_what_comes(two):
    fence = "# T\n\n```contents\npart: basics\n```\n"
    html = two.html("page", fence, **two.pages)
    assert (
        '<ol class="contents"><li value="1"><a href="../basics/first/">First'
        "</a> <span>Why &amp; how.</span></li></ol>" in html
    )
    assert "Coming: 2\xa0Second, 3\xa0Third steps.</p>" in html


def test_the_contents_of_the_book_lead_to_the_pages_of_its_parts(two):
    html = two.html("page", "# T\n\n```contents\nbook\n```\n", **two.pages)
    heads = re.findall(r'<h3 id="(\w+)">(.*?)</h3>', html)
    assert heads == [
        ("basics", "Basics"),
        ("later", '<a href="../later/">Later</a>'),
    ]
    assert '<li value="4"><a href="../later/last/">The last one</a>' in html


def test_contents_of_an_unknown_part_end_the_build(two):
    said = two.failure("page", "# T\n\n```contents\npart: gone\n```\n")
    assert "expected book or part: one of basics, later" in said


def test_a_page_of_three_sections_has_them_folded_under_its_title(two):
    first = two.html("basics__first", two.pages["basics__first"])
    fold = first[first.index('<details class="on-page"') :]
    assert first.index("</h1>") < first.index('class="on-page"')
    assert re.findall(r'<li><a href="#([\w-]+)">([^<]+)</a></li>', fold) == [
        ("a", "A"),
        ("b-b", "B &amp; b"),
        ("c", "C"),
    ]
    last = two.html("later__last", two.pages["later__last"])
    assert "on-page" not in last


def side(url):
    """The details of the sidebar, and what stands in each."""
    (nav,) = of_class(built.page(url).root, "book", "nav")
    return list(nav.iter("details"))


@pytest.mark.parametrize("chapter", WRITTEN, ids=lambda c: c.key)
def test_only_the_part_of_the_page_is_open_and_its_chapters_are_numbered(
    chapter,
):
    opened = [
        fold for fold in side(f"{chapter.key}/") if "open" in fold.attrib
    ]
    assert [text(fold.find("summary")) for fold in opened] == [
        chapter.part.capitalize()
    ]
    rows = [text(a).strip() for a in opened[0].iter("a")]
    mine = [c for c in WRITTEN if c.part == chapter.part]
    assert rows == ["About this part"] + [
        f"{book.number(c)}{title}"
        for c, title in zip(mine, titles(mine), strict=True)
    ]


def titles(chapters):
    """What the pages call themselves."""
    return [
        text(h, lambda e: "headerlink" in classes(e)).strip()
        for c in chapters
        for h in [next(built.page(f"{c.key}/").root.iter("h1"))]
    ]


@pytest.mark.parametrize("part", PARTS)
def test_a_parts_page_leads_to_all_of_its_chapters(part):
    page = built.page(f"{part}/")
    found = {page.local(a.get("href")) for a in page.article.iter("a")}
    assert {f"{c.key}/" for c in WRITTEN if c.part == part} <= found
    words = text(page.article)
    for c in CHAPTERS.values():
        if c.part == part and not c.written:
            assert f"{book.number(c)}\xa0{c.title}" in words


def test_home_leads_to_every_chapter_and_names_every_other():
    page = built.page("")
    found = {page.local(a.get("href")) for a in page.article.iter("a")}
    assert {f"{c.key}/" for c in WRITTEN} <= found
    words = text(page.article)
    assert [c.key for c in CHAPTERS.values() if c.title not in words] == []


@pytest.mark.parametrize("url", serving.chapters())
def test_the_way_on_says_in_one_line_what_comes(url):
    (nav,) = of_class(built.page(url).root, "steps", "nav")
    assert len(nav) in (1, 2)
    for link in nav.iter("a"):
        there = serving.source(built.page(url).local(link.get("href")))
        about = book.front(there).get("description", "")
        assert text(link).strip().endswith(" ".join(about.split()))


def test_a_lost_reader_can_search_and_sees_every_chapter():
    page = built.read((built.home() / "404.html").read_text("utf-8"))
    assert page.faults == []
    (form,) = of_class(page.article, "ask", "form")
    assert [e.get("name") for e in form.iter("input")] == ["q"]
    links = {a.get("href") for a in page.article.iter("a")}
    assert {f"/{c.key}/" for c in WRITTEN} <= links


@pytest.mark.parametrize("url", serving.pages(), ids=lambda u: u or "home")
def test_a_link_to_a_page_has_a_picture_and_words(url):
    page = built.page(url)
    said = {
        e.get("property") or e.get("name"): e.get("content")
        for e in page.root.iter("meta")
    }
    for name in ("title", "description", "image"):
        assert said[f"og:{name}"] == said[f"twitter:{name}"] != ""
    drawn = built.home() / page.local(said["og:image"])
    assert drawn.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    own = url in serving.chapters() or url.rstrip("/") in PARTS
    assert (drawn.name != "index.png") == own


@pytest.mark.parametrize(
    "rel, size", [("icon", 48), ("apple-touch-icon", 180)]
)
def test_icons_are_there_for_what_reads_no_svg(rel, size):
    page = built.page("proof/")
    (href,) = [
        e.get("href")
        for e in page.root.iter("link")
        if e.get("rel") == rel and e.get("href").endswith(".png")
    ]
    data = (built.home() / page.local(href)).read_bytes()
    assert [int.from_bytes(data[i : i + 4], "big") for i in (16, 20)] == [
        size,
        size,
    ]


def test_a_card_is_as_large_as_other_sites_ask_for():
    drawn = social.card("A title of more than one line", "above", "below")
    assert int.from_bytes(drawn[16:20], "big") == social.WIDE
    assert int.from_bytes(drawn[20:24], "big") == social.HIGH
