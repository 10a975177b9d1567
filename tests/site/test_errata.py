"""What was wrong is told in public, and each entry has its proof."""

import datetime

import pytest

from llmnotes._site import errata

ENTRY = """\
[[erratum]]
title = "Twice two was `5`"
was = "The page said 5."
now = "It is 4."
found = "Somebody counted"
date = 2026-11-02
"""
PAGE = "# Errata\n\n```errata\nall\n```\n"
CHAPTERS = {"basics__first": "# First\n", "basics__second": "# Second\n"}
LINES = "https://example.org/repository/blob/main/tests/basics/test_first.py"


@pytest.fixture
def wrong(site):
    """The tiny site with an entry of the chapter basics/first."""
    site.write("docs/errata/basics/first.toml", ENTRY)
    return site


def test_an_entry_says_what_was_what_is_how_it_was_found_and_since_when(wrong):
    html = wrong.html("errata", PAGE, **CHAPTERS)
    for said in (
        "Twice two was <code>5</code>",
        "<strong>Was:</strong> The page said 5.",
        "<strong>Is:</strong> It is 4.",
        "Found: Somebody counted. Right since 2 November 2026.",
        'href="../basics/first/"',
    ):
        assert said in html


def test_the_chapter_says_how_much_was_corrected_and_links_to_it(wrong):
    wrong.html("errata", PAGE, **CHAPTERS)
    html = (wrong.root / "site/basics/first/index.html").read_text()
    assert 'href="../../errata/#basics-first">One correction on this' in html
    assert "the last on 2 November 2026." in html
    other = (wrong.root / "site/basics/second/index.html").read_text()
    assert "correction" not in other


def test_the_latest_entry_comes_first_and_the_package_last(wrong):
    later = ENTRY.replace("-02", "-30").replace("Twice two", "Two and two")
    wrong.write("docs/errata/basics/first.toml", ENTRY + later)
    wrong.write("docs/errata/package.toml", ENTRY.replace("Twice", "Thrice"))
    html = wrong.html("errata", PAGE, **CHAPTERS)
    order = [html.index(f">{w}") for w in ("Two and", "Twice", "Thrice")]
    assert order == sorted(order)
    entries = errata.read(wrong.root, "basics/first")
    assert entries[0].date == datetime.date(2026, 11, 30)


def test_a_proof_that_is_not_there_ends_the_build(wrong):
    def with_proof(proof):
        text = ENTRY + f'proof = "{proof}"\n'
        wrong.write("docs/errata/basics/first.toml", text)
        return wrong.html("errata", PAGE, **CHAPTERS)

    wrong.write("tests/basics/test_first.py", "\ndef test_four():\n    pass\n")
    html = with_proof("tests/basics/test_first.py::test_four")
    assert f"{LINES}#L2" in html
    for missing, message in (
        ("tests/basics/test_first.py::test_five", "no test test_five"),
        ("basics/first:nothing", "no result"),
    ):
        with pytest.raises(AssertionError, match=message):
            with_proof(missing)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("basics/fifth", ENTRY, "fifth.toml: no such chapter"),
        ("basics/first", ENTRY.replace("was =", "what ="), "what"),
        ("basics/first", ENTRY.replace("now =", "#"), "now"),
        ("basics/first", "erratum = [", "first.toml"),
        ("basics/first", "", "erratum"),
    ],
)
def test_an_entry_that_lacks_something_ends_the_build(
    site, path, text, message
):
    site.write(f"docs/errata/{path}.toml", text)
    assert message in site.failure("errata", PAGE)
