"""The page that is being built: what an extension knows about it, and errors.

Python-Markdown tells an extension nothing about the page. MkDocs registers
a tree processor of its own that holds the file and the configuration, and
that is where they are read from. Outside MkDocs (a test that converts a
string) the page has no name and the working directory is the root.
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from markdown import Markdown
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, InclusionLevel
from mkdocs.utils import get_relative_url
from pymdownx.superfences import SuperFencesException


class PageError(PluginError, SuperFencesException):
    """A page says something that cannot be built; ends the build.

    MkDocs prints a `PluginError` as one line. Superfences swallows every
    exception of a custom fence that is not its own, hence the second base.
    """


@dataclass(frozen=True)
class Page:
    """One page of the site, as its Markdown extensions see it."""

    uri: str  # "kernels/flash_attention.md", relative to docs/
    root: Path  # of the repository
    config: Mapping  # mkdocs.yml
    files: object = None  # mkdocs.structure.files.Files

    def error(self, message: str) -> PageError:
        """Return the error that names this page and the cause."""
        return PageError(f"{self.uri}: {message}")

    @property
    def chapter(self) -> str:
        """The page's own `part/slug`, whether or not it is a chapter."""
        return posixpath.splitext(self.uri)[0]

    @property
    def description(self) -> str:
        """The sentence in the page's front matter; "" without one."""
        file = self.files and self.files.get_file_from_path(self.uri)
        return file.page.meta.get("description", "") if file else ""

    @property
    def hidden(self) -> list[str]:
        """What the front matter hides: navigation, toc."""
        file = self.files and self.files.get_file_from_path(self.uri)
        return file.page.meta.get("hide", []) if file else []

    def exists(self, uri: str) -> bool:
        """Whether the site has a page with this source, as `part/slug.md`."""
        return bool(self.files and self.files.get_file_from_path(uri))

    def url(self, uri: str) -> str:
        """Return the address of another page of the site from this one."""
        here = self.files.get_file_from_path(self.uri).url
        there = self.files.get_file_from_path(uri).url
        return get_relative_url(there, here)

    def source_url(self, path: Path | str, lines: str = "") -> str | None:
        """Return the address of a file or folder in the repository.

        The branch is that of `edit_uri`, as in edit/main/docs/. Where no
        repository is known, the site's own copy of a file; else `None`.
        """
        repository = self.config.get("repo_url")
        if not repository:
            return self._copy(path)
        words = (self.config.get("edit_uri") or "edit/main/docs/").split("/")
        branch = words[1] if len(words) > 1 else "main"
        kind = "tree" if (self.root / path).is_dir() else "blob"
        address = f"{repository.rstrip('/')}/{kind}/{branch}/{path}"
        return address + (f"#{lines}" if lines else "")

    def file_url(self, path: Path | str, lines: str = "") -> str | None:
        """Return the same as an address that HTML can hold as it is."""
        found = self.source_url(path, lines)
        if self.config.get("repo_url") or found is None:
            return found
        return self.url(_copied(path))

    def _copy(self, path: Path | str) -> str | None:
        """Lay a copy of a file into the site, as text that browsers show.

        The address is relative to this page's source: MkDocs resolves it.
        """
        place, uri = self.root / path, _copied(path)
        if self.files is None or not place.is_file():
            return None
        if not self.exists(uri):
            copy = File.generated(self.config, uri, abs_src_path=str(place))
            copy.inclusion = InclusionLevel.INCLUDED
            self.files.append(copy)
        return posixpath.relpath(uri, posixpath.dirname(self.uri) or ".")


def _copied(path: Path | str) -> str:
    return f"source/{path}.txt"


def page_of(md: Markdown) -> Page:
    """Return the page that this `Markdown` instance is converting."""
    if "relpath" not in md.treeprocessors:
        return Page("(no page)", Path.cwd(), {})
    held = md.treeprocessors["relpath"]
    root = Path(held.config.config_file_path).resolve().parent
    return Page(held.file.src_uri, root, held.config, held.files)
