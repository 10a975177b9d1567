"""The built pages as trees, each read once: what needs no browser to see.

reader   = turns HTML into a tree of xml.etree elements
article  = the part of a page that its author wrote
files    = what a browser fetches on a first visit of a page
"""

import functools
import re
import xml.etree.ElementTree as etree
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from tests.site import serving

VOID = frozenset(
    "area base br col embed hr img input link meta source track wbr".split()
)
FETCHED = ("src", "srcset", "poster", "data", "background", "imagesrcset")
NOT_FETCHED = {"canonical", "prev", "next", "alternate", "edit", "license"}
CSS_URL = re.compile(
    r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^)]*))\s*\)"""
    r"""|@import\s*["']([^"']*)"""
)


class Reader(HTMLParser):
    """Builds the tree, and notes what a browser would have to mend."""

    def __init__(self):
        super().__init__()
        self.tree, self.open, self.faults = etree.TreeBuilder(), [], []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(names) > len(set(names)):
            self.note(f"<{tag}> has an attribute twice: {names}")
        self.tree.start(tag, {name: value or "" for name, value in attrs})
        if tag in VOID:
            self.tree.end(tag)
        else:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.tree.end(self.open.pop())

    def handle_endtag(self, tag):
        if tag not in self.open:
            self.note(f"</{tag}> closes nothing")
            return
        while self.open[-1] != tag:
            self.note(f"<{self.open[-1]}> is not closed before </{tag}>")
            self.tree.end(self.open.pop())
        self.tree.end(self.open.pop())

    def handle_data(self, data):
        if self.open:
            self.tree.data(data)

    def note(self, fault):
        self.faults.append(f"line {self.getpos()[0]}: {fault}")


@dataclass(frozen=True)
class Built:
    """One page of the site."""

    url: str
    root: etree.Element = field(repr=False)
    faults: list[str] = field(repr=False)

    @functools.cached_property
    def article(self) -> etree.Element:
        """What stands between the navigation and the foot."""
        return next(self.root.iter("article"))

    @functools.cached_property
    def ids(self) -> list[str]:
        """Every id, in order, as often as it is given."""
        return [e.get("id") for e in self.root.iter() if "id" in e.attrib]

    @functools.cached_property
    def files(self) -> list[str]:
        """The files of the site that a first visit fetches, itself first."""
        named = [self.local(u) for u in asked_by(self.root)]
        sheets = [u for u in named if u.endswith(".css")]
        fonts = [f for sheet in sheets for f in fonts_of(sheet, self.root)]
        return list(dict.fromkeys([self.url, *named, *fonts]))

    def local(self, address: str) -> str:
        """An address on this page, relative to the site, without #…"""
        there = urlsplit(urljoin(f"/{self.url}", address)).path
        return unquote(there).lstrip("/")


@functools.cache
def page(url: str) -> Built:
    """Read a page of the built site."""
    return read((home() / url / "index.html").read_text("utf-8"), url)


def read(html: str, url: str = "") -> Built:
    """Read a page from its HTML."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    return Built(url, reader.tree.close(), reader.faults)


@functools.cache
def home() -> Path:
    """The folder of the site, built anew if something has changed."""
    return serving.build_if_older()


def text(element: etree.Element, skip=lambda e: False) -> str:
    """The text of an element, without the elements that `skip` picks."""
    parts = [element.text or ""]
    for child in element:
        parts += ["" if skip(child) else text(child, skip), child.tail or ""]
    return "".join(parts)


def classes(element: etree.Element) -> set[str]:
    return set(element.get("class", "").split())


def of_class(root: etree.Element, name: str, tag: str | None = None):
    """Yield the elements of a class, in order."""
    return (e for e in root.iter(tag) if name in classes(e))


def outside(root: etree.Element, skip):
    """Yield the elements below root, leaving out those that `skip` picks."""
    for child in root:
        if not skip(child):
            yield child
            yield from outside(child, skip)


def css_urls(css: str) -> list[str]:
    """The addresses that a style sheet loads."""
    return ["".join(found).strip() for found in CSS_URL.findall(css)]


def is_foreign(address: str) -> bool:
    """Whether an address leads to another site."""
    return bool(re.match(r"(?!data:|blob:)[a-z][a-z0-9+.-]*:|//", address))


def asked_by(root: etree.Element) -> list[str]:
    """The addresses that a browser loads for a page, in order."""
    found = []
    for element in root.iter():
        for name, value in element.attrib.items():
            found += _loaded(element, name, value)
        if element.tag == "style":
            found += css_urls(text(element))
    return [u for u in found if u and not u.startswith(("#", "data:"))]


def _loaded(element, name: str, value: str) -> list[str]:
    if name in ("srcset", "imagesrcset"):
        return [part.split()[0] for part in value.split(",") if part.strip()]
    if name in FETCHED:
        return [value]
    if name == "style" or "url(" in value:
        return css_urls(value)
    if name not in ("href", "xlink:href") or element.tag in ("a", "base"):
        return []
    return [] if NOT_FETCHED & set(element.get("rel", "").split()) else [value]


def fonts_of(sheet: str, root: etree.Element) -> list[str]:
    """The font files that a page needs of a style sheet.

    A face counts as needed where a rule asks for its family, weight and
    style, and the page has an element with all classes of that rule.
    """
    faces, rules = _faces(sheet)
    if not faces:
        return []
    marked = {frozenset(classes(e)) for e in root.iter() if e.get("class")}
    return [
        urljoin(sheet, file)
        for face, file in faces.items()
        if any(n <= m for n in rules.get(face, ()) for m in marked)
    ]


@functools.cache
def _faces(sheet: str):
    """Return {face: file} and {face: [classes of a rule that names it]}."""
    faces, rules = {}, {}
    css = (home() / sheet).read_text("utf-8")
    for selector, body in re.findall(r"([^{}]+)\{([^{}]*)\}", css):
        if not (face := _face(body)):
            continue
        if selector.strip() == "@font-face":
            faces[face] = css_urls(body)[0]
            continue
        for one in selector.split(","):
            last = one.split(">")[0].split()[-1]
            names = frozenset(re.findall(r"\.([\w-]+)", last))
            rules.setdefault(face, []).append(names)
    return faces, rules


def _face(body: str) -> tuple[str, str, str] | None:
    """Family, weight and style that a block of declarations names."""
    family = re.search(r'font(?:-family)?:[^;]*?(KaTeX_\w+)"?', body)
    weight = re.search(r"font-weight:(\w+)", body)
    style = re.search(r"font-style:(\w+)", body)
    if not family:
        return None
    return (
        family[1],
        weight[1] if weight else "400",
        style[1] if style else "normal",
    )
