"""MkDocs hook: what a fence draws can be linked to.

MkDocs reads a page's ids before the HTML of fences is put in, so a link to
one of them looks dead, and a strict build ends.
"""

import re

ID = re.compile(r'<[a-z][^<>]*? id="([^"]+)"')


def on_page_content(html, page, config, files):
    """Add the ids of the finished page to those that MkDocs has seen."""
    page.present_anchor_ids = {*(page.present_anchor_ids or ()), *ids(html)}
    return html


def ids(html: str) -> set[str]:
    """Every id of an element."""
    return set(ID.findall(html))
