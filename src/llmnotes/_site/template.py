"""Lay the homes of a new chapter: `make chapter name=part/slug`.

Writes the page, the module, the tests and the benchmark, each with what has
to be said there, and never overwrites. The first test fails until the first
claim is proved: a laid chapter is not a written one.
"""

import re
import sys
from pathlib import Path

PAGE = """\
---
description: One sentence that a search result would show.
---

# {title}

What breaks without it: a run, with its numbers, before any solution.

## The idea

One picture and three sentences.

## The maths

Each symbol tied to its name in the code.

## The code

```python
--8<-- "llmnotes.{part}.{slug}:{slug}" imports
```

## Proof

```python
--8<-- "tests.{part}.test_{slug}:test_equals_an_independent_implementation"
```

## Measurement

```results
table: {part}/{slug}:first
```

## Where this differs

From the paper, from other libraries, and the mistakes people really make,
each with the smallest input that exposes it.

## Sources

1. Paper, section or equation. Implementations compared against.
"""

CODE = '''\
"""{title}: what it is in one sentence.

    name = paper's symbol (meaning)

Sources
1. Author year, "Title", arXiv number, section.
"""

from jaxtyping import Float
from torch import Tensor


def {slug}(
    x: Float[Tensor, "batch d_model"],
) -> Float[Tensor, "batch d_model"]:
    """Say what comes out, with shapes, units, errors raised and source [1]."""
    return x
'''

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
        kind="exact",
        seed=None,
        title="The point of the table in one sentence",
        prediction="What we expect before measuring, with the reason.",
        columns={{"n": "tokens", "count": ""}},
        rows=rows,
    )
'''


def homes(part: str, slug: str) -> dict[Path, str]:
    """Return path and text of each home of the chapter."""
    words = {
        "part": part,
        "slug": slug,
        "title": slug.replace("_", " ").capitalize(),
    }
    texts = {
        f"docs/{part}/{slug}.md": PAGE,
        f"src/llmnotes/{part}/{slug}.py": CODE,
        f"tests/{part}/test_{slug}.py": TEST,
        f"tests/{part}/bench_{slug}.py": BENCH,
    }
    return {Path(p): text.format(**words) for p, text in texts.items()}


def lay(name: str, root: Path = Path()) -> list[Path]:
    """Write the homes of `part/slug` under root; return their paths.

    Raises `ValueError` for a name that is not part/slug in lower case and
    `FileExistsError`, before anything is written, if a home is there.
    """
    if not re.fullmatch(r"[a-z]\w*/[a-z]\w*", name) or name != name.lower():
        raise ValueError(
            f"name: got {name!r}, expected part/slug, as in kernels/softmax"
        )
    part, slug = name.split("/")
    files = {root / path: text for path, text in homes(part, slug).items()}
    if there := [path for path in files if path.exists()]:
        raise FileExistsError(f"{there[0]} is there already")
    package = root / f"src/llmnotes/{part}/__init__.py"
    if not package.exists():
        files[package] = f'"""The {part} part of the book."""\n'
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def main() -> None:
    """Lay the chapter named on the command line and say what is next."""
    try:
        for path in lay(" ".join(sys.argv[1:])):
            print(path)
    except (ValueError, FileExistsError) as error:
        sys.exit(f"make chapter: {error}")
    print(
        f"Next: list the page in the nav of mkdocs.yml, then\n"
        f"  make bench name={sys.argv[1]}\n  make test"
    )


if __name__ == "__main__":
    main()
