"""The fence `map`: the book as a drawing, and as a list.

    ```map
    book
    ```

or, in the place of `book`, a line `caption: …` for words below the map.
"""

from html import escape

from llmnotes._site import atlas, tables
from llmnotes._site.book import Chapter, Graph, graph
from llmnotes._site.page import Page, page_of


def map_fence(source, language, css_class, options, md, **_):
    """Render the fence `map`, as pymdownx.superfences asks for it."""
    page = page_of(md)
    name, _, caption = source.strip().partition(":")
    if name not in ("book", "caption"):
        raise page.error(f"map: got {name!r}, expected book or caption: …")
    try:
        return _map(page, tables.prose(caption.strip()))
    except Exception as error:  # superfences would swallow it
        raise page.error(f"map: {error}") from None


def _map(page: Page, caption: str) -> str:
    links = graph(page.root)

    def href(chapter):
        return page.url(chapter.uri) if page.exists(chapter.uri) else None

    return (
        '<figure class="map" data-search-exclude>'
        + atlas.wide(links, href)
        + atlas.narrow(links, href)
        + f"<figcaption>{caption} Dashed chapters are coming.</figcaption>"
        + '<details class="map-list"><summary>The map as a list</summary>'
        + f"{_list(links, href)}</details></figure>"
    )


def _list(links: Graph, href) -> str:
    """The same as words: parts, chapters, what each builds on."""
    out = []
    for part, chapters in atlas.parts(links).items():
        items = "".join(
            f"<li>{_item(links, chapter, href(chapter))}</li>"
            for chapter in chapters
        )
        out.append(f"<li>{part.capitalize()}<ul>{items}</ul></li>")
    return f"<ul>{''.join(out)}</ul>"


def _item(links: Graph, chapter: Chapter, url: str | None) -> str:
    title = escape(chapter.title)
    if url is None:
        return f"{title} (coming)"
    below = [links.chapters[k].title for k in links.builds_on(chapter.key)]
    builds = f", builds on {escape(', '.join(below))}" if below else ""
    return f'<a href="{url}">{title}</a>{builds}'
