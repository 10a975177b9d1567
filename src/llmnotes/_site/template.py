"""Lay the homes of a new chapter: `make chapter name=part/slug`.

Writes the page, the module, the tests and the benchmark, each with what has
to be said there. A single idea is a file; with `folder=1` the code is a
folder that begins with model.py. Nothing is overwritten: of a coming chapter
whose code stands already, as a later one needed it, the rest is laid. The
first test fails until the first claim is proved: a laid chapter is not a
written one.
"""

import difflib
import sys
from pathlib import Path

from llmnotes._site.book import Chapter, book
from llmnotes._site.imports import CODE

PAGE = """\
---
description: One sentence for a newcomer; it stands under the title.
---

# {title}

What breaks without it: a run, with its numbers, before any solution.

## Say what the picture shows

One drawn picture of the object (a `figure` fence), and three sentences.

## Say what the formula gives

Each symbol tied to its name in the code; no formula wider than a phone.

```python
--8<-- "{module}:{slug}" imports
```

## Say what is proved

```claims
{tests}
test_equals_an_independent_implementation
others
```

## Say what the measurement found

```results
table: {part}/{slug}:first
prediction: fold
outcome: As expected, or what came out otherwise.
```

## What goes wrong

### Name the mistake

The smallest input that exposes it, and the library's message. Three mistakes
stand in view, each with a heading of its own.

<details class="more" markdown="1"><summary>More mistakes</summary>

### Name another

</details>

## What to take along

Three to five sentences.

## Three questions

??? question "The first?"

    Its answer.

## Where to go next

Two or three links, each with a reason.

## Sources

1. Paper, section or equation. Implementations compared against.
"""

PART_PAGE = """\
---
description: What this part teaches, in one sentence.
---

# {part_title}

What it teaches and in what order, in a few sentences.

```contents
part: {part}
```
"""

MODULE = '''\
"""{title}: what it is in one sentence.

    name = paper's symbol (meaning)

Sources
- Author year, "Title", arXiv number, section.
"""

from jaxtyping import Float
from torch import Tensor


def {slug}(
    x: Float[Tensor, "batch d_model"],
) -> Float[Tensor, "batch d_model"]:
    """Say what comes out, with shapes, units, errors raised, source."""
    return x
'''

NAMES = '''\
"""{title}: what its modules hold, in one sentence."""

from {module} import {slug}
'''

PART = '"""The {part} part of the book."""\n'

TEST = '''\
"""What the {slug} chapter claims, proved."""

import pytest


def test_equals_an_independent_implementation():
    pytest.fail("prove the first claim: forward and gradient")
'''

BENCH = '''\
"""What the {slug} chapter measures; `make bench name={part}/{slug}`."""


def bench_first(record):
    rows = [(1, 1)]
    record(
        "first",
        kind="tolerance",
        tolerance=1e-6,
        seed=0,
        title="The point of the table in one sentence",
        prediction="What we expect before measuring, with the reason.",
        columns={{"n": "tokens", "count": ""}},
        rows=rows,
    )
'''

LEFT = """\
Left to do, in this order:
 1. mkdocs.yml, nav: the line
      - {part}/{slug}.md
    {place}
 2. {test}
    Prove the claims: forward and gradient against an implementation by
    someone else, one property, one number by hand, what is refused.
 3. {code}
    Name the axes as docs/notation.md does; a new axis is a line there.
 4. {bench}
    Write the prediction, commit, then: make bench name={part}/{slug}
    It writes docs/results/{part}/{slug}.json and the page that shows it.
 5. docs/{part}/{slug}.md
    The sections say what belongs in them; docs/contributing.md says how.
    A new term is a line of docs/includes/glossary.md.
 6. CHANGELOG.md: a line
      - Chapter *{title}*: `{package}`.
 7. make check. Until 1 to 4 are done it names what is missing.
"""


def places(part: str, slug: str, folder: bool) -> dict[str, str]:
    """Return where code, tests and benchmark of a chapter lie."""
    inside = f"{part}/{slug}"
    return {
        "code": f"{CODE}/{inside}{'/model' if folder else ''}.py",
        "test": f"tests/{inside}/test_model.py"
        if folder
        else f"tests/{part}/test_{slug}.py",
        "bench": f"tests/{inside if folder else part}/bench_{slug}.py",
    }


def words(chapter: Chapter, folder: bool) -> dict[str, str]:
    """Return what stands in the braces of the texts above."""
    at = places(chapter.part, chapter.slug, folder)
    return at | {
        "part": chapter.part,
        "part_title": chapter.part.capitalize(),
        "slug": chapter.slug,
        "title": chapter.title,
        "package": f"llmnotes.{chapter.part}.{chapter.slug}",
        "module": at["code"][4:-3].replace("/", "."),
        "tests": at["test"][:-3].replace("/", "."),
    }


def homes(chapter: Chapter, folder: bool = False) -> dict[Path, str]:
    """Return path and text of each file of the homes that are empty."""
    said, stand = words(chapter, folder), chapter.homes()
    texts = {f"docs/{chapter.uri}": PAGE}
    about = f"docs/{chapter.part}/index.md"
    if not (chapter.root / about).exists():
        texts[about] = PART_PAGE
    if not stand["code"]:
        texts[said["code"]] = MODULE
        if not (chapter.root / CODE / chapter.part / "__init__.py").exists():
            texts[f"{CODE}/{chapter.part}/__init__.py"] = PART
        if folder:
            names = Path(said["code"]).with_name("__init__.py")
            texts[names.as_posix()] = NAMES
    if not stand["tests"]:
        texts[said["test"]] = TEST
    if not stand["benchmark"]:
        texts[said["bench"]] = BENCH
    return {Path(p): text.format(**said) for p, text in texts.items()}


def chapter_of(name: str, root: Path) -> Chapter:
    """Return the chapter `part/slug`; `ValueError` if the book lacks it."""
    chapters = book(root)
    if name in chapters:
        return chapters[name]
    slug = name.lower().rpartition("/")[2]
    near = [key for key in chapters if key.endswith(f"/{slug}")]
    near += difflib.get_close_matches(name.lower(), chapters, n=2)
    hint = f" Near: {', '.join(dict.fromkeys(near))}." if near else ""
    raise ValueError(
        f"name: got {name!r}, expected part/slug of a chapter that "
        f"mkdocs.yml lists under extra.book.{hint} A new chapter is a line "
        "there first."
    )


def lay(name: str, root: Path = Path(), folder: bool = False) -> list[Path]:
    """Write the homes of `part/slug` under root; return their paths.

    Raises `ValueError` for a name that the book does not list and
    `FileExistsError`, before anything is written, if the page is there.
    """
    files = {
        root / path: text
        for path, text in homes(chapter_of(name, root), folder).items()
    }
    if there := [path for path in files if path.exists()]:
        raise FileExistsError(f"{there[0]} is there already")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def left(name: str, root: Path = Path(), folder: bool = False) -> str:
    """Say what is still to do, once the homes are laid."""
    chapter = chapter_of(name, root)
    return LEFT.format(place=nav_place(name, root), **words(chapter, folder))


def nav_place(name: str, root: Path) -> str:
    """Say between which lines of `nav` the page belongs."""
    chapters = list(book(root).values())
    at = [c.key for c in chapters].index(name)
    part = chapters[at].part
    written = [c.uri for c in chapters[:at] if c.written and c.part == part]
    if written:
        return f"below {written[-1]}"
    later = [c for c in chapters[at + 1 :] if c.written]
    if later and later[0].part == part:
        return f"above {later[0].uri}"
    heading = f"in a new section `{part.capitalize()}:`, after {part}/index.md"
    earlier = [c for c in chapters[:at] if c.written]
    below = f", below that of {earlier[-1].part}" if earlier else ""
    return heading + below


def main(name: str = "", folder: str = "") -> None:
    """Lay the chapter named on the command line and say what is next."""
    root, as_folder = Path(), bool(folder)
    try:
        for path in lay(name, root, as_folder):
            print(path)
    except (ValueError, FileExistsError) as error:
        sys.exit(f"make chapter: {error}")
    print(f"\n{left(name, root, as_folder)}", end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
