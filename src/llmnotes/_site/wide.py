"""A table of words scrolls inside a frame where the page is too narrow."""

import xml.etree.ElementTree as etree

from markdown import Extension
from markdown.treeprocessors import Treeprocessor

FRAME = "md-typeset__scrollwrap"


class WideTreeprocessor(Treeprocessor):
    """Put each table into a frame of its own."""

    def run(self, root):
        """Wrap the tables that have no look of their own."""
        found = [
            (parent, child)
            for parent in root.iter()
            for child in parent
            if child.tag == "table" and not child.get("class")
        ]
        for parent, table in found:
            frame = etree.Element("div", {"class": FRAME})
            frame.tail, table.tail = table.tail, None
            parent[list(parent).index(table)] = frame
            frame.append(table)


class WideExtension(Extension):
    """Markdown extension `llmnotes._site.wide`."""

    def extendMarkdown(self, md):
        """Register after attr_list (8), which may give a table a class."""
        md.treeprocessors.register(WideTreeprocessor(md), "llmnotes-wide", 2)


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return WideExtension(**options)
