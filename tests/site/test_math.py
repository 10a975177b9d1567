"""Maths is rendered at build time, or the build fails."""

import re

import pytest

from llmnotes._site import math


def test_a_formula_becomes_html_for_the_eye_and_mathml_for_the_ear(site):
    html = site.html("page", "# T\n\nInline $x_1 < \\sqrt{d}$ here.\n")
    assert "<math" in html and 'application/x-tex">x_1 &lt; ' in html
    assert 'class="katex-html" aria-hidden="true"' in html


def test_a_displayed_formula_is_displayed(site):
    text = "# T\n\n$$\n\\begin{aligned} a &= b \\\\ &< c \\end{aligned}\n$$\n"
    html = site.html("page", text)
    assert 'class="katex-display"' in html
    assert "a &amp;= b" in html and "amp;amp;" not in html
    assert '<div class="arithmatex" data-search-exclude' in html


def test_the_wrapper_that_search_skips_has_a_tag_that_katex_never_uses():
    for display in (True, False):
        html = math.render(r"\sqrt{\frac{a}{b}}\, \underbrace{x}_y", display)
        tags = set(re.findall(r"<(\w[\w-]*)", html))
        assert not tags & {math.INLINE_TAG, "div"}


@pytest.mark.parametrize(
    "tex, cause",
    [
        (r"\frac{a", "Unexpected end of input"),
        (r"\unknown x", "Undefined control sequence: \\unknown"),
        (r"a_b_c", "Double subscript"),
        ("é", "LaTeX-incompatible input"),
    ],
)
def test_broken_tex_ends_the_build_naming_page_and_tex(site, tex, cause):
    said = site.failure("basics__page", f"# T\n\nInline ${tex}$ here.\n")
    assert said.startswith(f"broken TeX {tex!r}") and cause in said


def test_a_broken_formula_is_not_kept(site):
    for _ in range(2):
        with pytest.raises(math.TexError):
            math.render(r"\frac{a", False, site.root)


def test_without_katex_the_build_says_what_to_run(site):
    (site.root / math.HOME).unlink()
    said = site.failure("page", "# T\n\n$x$\n")
    assert math.SET_UP in said


def test_a_formula_is_rendered_once(site, monkeypatch):
    first = math.render("x^2", False, site.root)
    monkeypatch.setattr(math, "_katex", None)
    assert math.render("x^2", False, site.root) == first


def test_the_style_sheet_names_only_fonts_that_are_there(site):
    math.install(site.root)
    folder = site.root / math.ASSETS
    style = (folder / "katex.css").read_text(encoding="utf-8")
    named = set(re.findall(r"url\(([^)]*)\)", style))
    assert named == {
        f"fonts/{path.name}" for path in (folder / "fonts").iterdir()
    }
    assert all(name.endswith(".woff2") for name in named)


def test_dollars_in_code_stay(site):
    html = site.html("page", "# T\n\n`$x$` and\n\n```text\n$y$\n```\n")
    assert "<code>$x$</code>" in html and "katex" not in html
