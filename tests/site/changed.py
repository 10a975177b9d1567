"""Which pages this branch has changed: the browser visits those, too.

Compared with the commit where the branch left main; on main itself, with the
commit before. Without git, or without an earlier commit, nothing has changed.
"""

import subprocess
from pathlib import Path, PurePosixPath


def _git(root: Path, *words: str) -> str:
    """What git says; nothing where there is no git, or no such commit."""
    try:
        run = ["git", *words]
        done = subprocess.run(run, cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def base(root: Path) -> str:
    """The commit to compare with; "" without one."""
    head = _git(root, "rev-parse", "HEAD")
    for main in ("origin/main", "main"):
        left = _git(root, "merge-base", "HEAD", main)
        if left not in ("", head):
            return left
    return _git(root, "rev-parse", "--verify", "--quiet", "HEAD~1")


def files(root: Path) -> list[str]:
    """The files that differ from then, those not yet committed too."""
    then = base(root)
    if not then:
        return []
    return [
        *_git(root, "diff", "--name-only", "--relative", then).split("\n"),
        *_git(root, "ls-files", "--others", "--exclude-standard").split("\n"),
    ]


def pages(root: Path, urls: list[str]) -> list[str]:
    """Those of the addresses whose text, result or drawing has changed."""
    stems = {stem for file in files(root) for stem in _stems(file)}
    return [url for url in urls if (url.rstrip("/") or "index") in stems]


def _stems(file: str):
    """Yield the pages that a file of docs/ is of: `gpt_heads` is of `gpt`."""
    path = PurePosixPath(file)
    folder = "docs/results" if path.suffix == ".json" else "docs"
    if not path.is_relative_to(folder):
        return
    inside = path.relative_to(folder).with_suffix("")
    if inside.name == "index":
        yield str(inside.parent)
    words = inside.name.split("_")
    for n in range(1, len(words) + 1):
        yield str(inside.with_name("_".join(words[:n])))
