"""A term is explained where a section first says it, and not again."""

import re


def test_a_term_is_marked_once_in_a_section(site):
    html = site.html(
        "page",
        "# T\n\nGQA, then *GQA and* HBM, GQA.\n\n- GQA here\n\n"
        "## Next\n\nGQA again, GQA.\n",
    )
    html = re.sub(r'<abbr title="[^"]+">', "<abbr>", html)
    assert "<p><abbr>GQA</abbr>, then <em>GQA and</em> <abbr>HBM<" in html
    assert "</abbr>, GQA.</p>" in html and "<li>GQA here</li>" in html
    assert "<p><abbr>GQA</abbr> again, GQA.</p>" in html
