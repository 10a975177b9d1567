"""A term of the glossary is marked once in a section, not at each mention."""

from markdown import Extension
from markdown.treeprocessors import Treeprocessor


class OncePerSection(Treeprocessor):
    """Unmark every <abbr> but the first of its kind below a heading."""

    def run(self, root):
        """Begin anew at each h2."""
        told = set()
        for block in root:
            if block.tag == "h2":
                told = set()
            _unmark(block, told)


def _unmark(parent, told: set[str]) -> None:
    for child in list(parent):
        if child.tag == "abbr" and child.text in told:
            _dissolve(parent, child)
        else:
            told |= {child.text} if child.tag == "abbr" else set()
            _unmark(child, told)


def _dissolve(parent, child) -> None:
    """Leave the words of an element where it stood."""
    at = list(parent).index(child)
    words = (child.text or "") + (child.tail or "")
    if at:
        parent[at - 1].tail = (parent[at - 1].tail or "") + words
    else:
        parent.text = (parent.text or "") + words
    parent.remove(child)


class GlossaryExtension(Extension):
    """Markdown extension `llmnotes._site.glossary`."""

    def extendMarkdown(self, md):
        """Register after `abbr` (7) has marked all."""
        md.treeprocessors.register(OncePerSection(md), "llmnotes-glossary", 3)


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return GlossaryExtension(**options)
