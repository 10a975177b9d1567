"""Maths at build time: what arithmatex found on a page, rendered by KaTeX.

KaTeX runs in QuickJS (dukpy); no node, no script in the browser. Set-up:

    python -m llmnotes._site.math install

brings the pinned release from the npm registry into build/, which git
ignores, and puts its style sheet and woff2 fonts into docs/assets/katex/,
which git ignores too. Style sheet and script are of one release, always.

A formula takes about 8 ms; each is kept in build/ between builds.
"""

import functools
import html
import re
import shutil
import sys
from pathlib import Path

from markdown import Extension
from markdown.treeprocessors import Treeprocessor

from llmnotes._site.kept import kept
from llmnotes._site.page import page_of

VERSION = "0.19.1"
HOME = Path("build/katex")  # relative to the repository, as the next one
ASSETS = Path("docs/assets/katex")
SET_UP = "python -m llmnotes._site.math install"

# Inline formulas get a tag of their own: Material's search stops excluding
# at the first closing tag of the same name, and KaTeX is made of spans.
INLINE_TAG = "tex-formula"


class TexError(ValueError):
    """KaTeX refuses the formula, or is not installed."""


def _home(root: Path) -> Path:
    return root / HOME / VERSION


@functools.cache
def _interpreter(root: Path):
    import dukpy

    script = _home(root) / "katex/dist/katex.min.js"
    if not script.exists():
        raise TexError(f"KaTeX {VERSION} is not set up: run `{SET_UP}`")
    js = dukpy.JSInterpreter()
    js.evaljs(script.read_text(encoding="utf-8") + ";1")
    return js


def _katex(tex: str, display: bool, root: Path) -> str:
    from dukpy import JSRuntimeError

    call = (
        "katex.renderToString(dukpy['tex'], {displayMode: dukpy['display'],"
        " throwOnError: true, strict: 'error', output: 'htmlAndMathml'})"
    )
    try:
        return _interpreter(root).evaljs(call, tex=tex, display=display)
    except JSRuntimeError as error:
        first = str(error).partition("\n")[0]
        cause = first.removeprefix("ParseError: KaTeX parse error: ")
        raise TexError(f"broken TeX {tex!r}: {cause}") from None


def render(tex: str, display: bool, root: Path | None = None) -> str:
    """Return the HTML of a formula; `TexError` if KaTeX refuses it.

    It holds MathML for screen readers and hidden HTML for the eye.
    """
    root = root or Path.cwd()
    key = ("katex", VERSION, display, tex)
    return kept(root, key, lambda: _katex(tex, display, root))


class KatexTreeprocessor(Treeprocessor):
    """Put rendered formulas in the place of arithmatex's TeX."""

    def run(self, root):
        """Render each element of class arithmatex."""
        page = page_of(self.md)
        for element in root.iter():
            if element.get("class") != "arithmatex" or not element.text:
                continue
            tex = html.unescape(element.text).strip()[2:-2].strip()
            display = element.tag == "div"
            try:
                made = render(tex, display, page.root)
            except TexError as error:
                raise page.error(str(error)) from None
            element.text = self.md.htmlStash.store(made)
            element.set("data-search-exclude", "")
            if not display:
                element.tag = INLINE_TAG


class KatexExtension(Extension):
    """Markdown extension `llmnotes._site.math`; needs arithmatex generic."""

    def extendMarkdown(self, md):
        """Register after the inline patterns, which find the formulas."""
        md.treeprocessors.register(KatexTreeprocessor(md), "llmnotes-math", 1)


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return KatexExtension(**options)


def install(root: Path | None = None) -> None:
    """Bring KaTeX into build/ and its fonts and style into docs/assets/."""
    root = root or Path.cwd()
    if not (_home(root) / "katex/dist/katex.min.js").exists():
        _fetch(_home(root))
    dist = _home(root) / "katex/dist"
    style = (dist / "katex.min.css").read_text(encoding="utf-8")
    fonts = root / ASSETS / "fonts"
    fonts.mkdir(parents=True, exist_ok=True)
    (root / ASSETS / "katex.css").write_text(_only_woff2(style), "utf-8")
    for font in (dist / "fonts").glob("*.woff2"):
        shutil.copyfile(font, fonts / font.name)


def _fetch(folder: Path) -> None:
    """Bring KaTeX from its registry; without one, leave with one line."""
    from dukpy.install import JSPackageInstallError, install_jspackage

    try:
        install_jspackage("katex", VERSION, str(folder))
    except JSPackageInstallError as error:
        sys.exit(f"KaTeX {VERSION} could not be fetched: {error}")


def _only_woff2(style: str) -> str:
    """Drop the older font formats, which every browser of today ignores."""
    style = re.sub(r',url\([^)]*\.(woff|ttf)\) format\("\w+"\)', "", style)
    if re.search(r"\.(woff|ttf)\)", style):
        raise ValueError("katex.min.css names fonts in a form unknown here")
    return style


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        sys.exit(f"usage: {SET_UP}")
    install()
