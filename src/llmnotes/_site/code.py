"""Stand-in until the code blocks of our own are here."""

from html import escape

from llmnotes._site.sources import source_of


def block(page, module: str, name: str, words=()) -> str:
    """Return a symbol's source as a block of code."""
    text = "\n".join(source_of(page.root, module, name, words).code)
    return (
        f'<div class="highlight"><pre><code>{escape(text)}</code></pre></div>'
    )
