"""Whose book it is: the address of the repository, and links into it.

The address is LLMNOTES_REPOSITORY; without this variable git's remote
`origin`, where that is an address on the web; else there is none. mkdocs.yml
asks for it here. On a page

    <address of this repository>      stands for it, also in a fence
    [words](repository:path/of/file)  links to a file, which must exist

Without an address the words stay, and links lead to the site's own copy of
the file.
"""

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from markdown import Extension
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from mkdocs.exceptions import ConfigurationError

from llmnotes._site.page import page_of

VARIABLE = "LLMNOTES_REPOSITORY"
ROOT = Path(__file__).parents[3]
WORDS = "<address of this repository>"
SCHEME = "repository:"
SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[\w-]+(\.[\w-]+)+):(?P<path>[^/].*)")
# Last parts of names that mean something in one network only.
PRIVATE = {"corp", "home", "internal", "intranet", "lan", "local", "private"}
PRIVATE |= {"arpa", "invalid", "localdomain", "localhost", "test"}


def address(root: Path = ROOT) -> str | None:
    """Return the web address of the repository, without a closing slash.

    `ConfigurationError` if LLMNOTES_REPOSITORY is set to something else;
    empty, it says that there is none.
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        found = on_the_web(_origin(root))
        return found if found and _public(found) else None
    if given and not on_the_web(given):
        raise ConfigurationError(
            f"{VARIABLE}: got {given!r}, expected https://host/owner/name"
        )
    return on_the_web(given)


def edit_uri(root: Path = ROOT) -> str | None:
    """Return where below the address a page is edited, if there is one."""
    return "edit/main/docs/" if address(root) else None


def on_the_web(remote: str) -> str | None:
    """Return the web address that belongs to one of git's, else None.

    Name and password are left out, and the port of ssh.
    """
    if m := SCP.fullmatch(remote):
        remote = f"ssh://{m['host']}/{m['path']}"
    parts = urlsplit(remote)
    path = parts.path.strip("/").removesuffix(".git")
    if parts.scheme not in ("http", "https", "ssh") or not parts.hostname:
        return None
    if not path:
        return None
    if parts.scheme == "ssh":
        return f"https://{parts.hostname}/{path}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{path}"


def _public(url: str) -> bool:
    """Whether the host has a name that everyone could know."""
    _, dot, last = urlsplit(url).hostname.rpartition(".")
    return bool(dot) and last.isalpha() and last not in PRIVATE


def _origin(root: Path) -> str:
    """Return git's remote as it was given; "" outside a repository."""
    if not (root / ".git").exists():
        return ""
    ask = ["git", "-C", str(root), "config", "--get", "remote.origin.url"]
    try:
        run = subprocess.run(ask, capture_output=True, text=True)
    except FileNotFoundError:  # no git
        return ""
    return run.stdout.strip()


class AddressPreprocessor(Preprocessor):
    """Put the address in the place of the words that stand for it."""

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines with the address, or as they are."""
        found = page_of(self.md).config.get("repo_url")
        return [
            line.replace(WORDS, found) if found else line for line in lines
        ]


class LinkTreeprocessor(Treeprocessor):
    """Resolve `repository:` links."""

    def run(self, root):
        """Set the address of each such link, or make it plain words."""
        page = page_of(self.md)
        for link in root.iter("a"):
            scheme, _, path = link.get("href", "").partition(SCHEME)
            if scheme or not path:
                continue
            if not (page.root / path).exists():
                raise page.error(f"no file {path!r} in the repository")
            url = page.source_url(path)
            link.attrib.pop("href")
            if url:
                link.set("href", url)
            else:
                link.tag = "span"


class RepositoryExtension(Extension):
    """Markdown extension `llmnotes._site.repository`."""

    def extendMarkdown(self, md):
        """Register before llms (34) and before MkDocs resolves links (0)."""
        md.preprocessors.register(
            AddressPreprocessor(md), "llmnotes-address", 36
        )
        md.treeprocessors.register(
            LinkTreeprocessor(md), "llmnotes-repository", 3
        )


def makeExtension(**options):
    """Return the extension, as Python-Markdown asks for it."""
    return RepositoryExtension(**options)
