"""Result files: every number of the book that was run, with its source.

One file per chapter, docs/results/<part>/<slug>.json, written only by the
chapter's bench_<slug>.py, which lays the page that shows it beside it. A
result is a table with a kind (see `schema`).

    run       = when, from what commit and on what machine its rows were made
    bench     = the function that recorded it
    confirmed = when its rows last came out again, and the fingerprint of the
                sources, the versions and the rows with which they did
"""

import datetime
import functools
import hashlib
import json
import math
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llmnotes._site.schema import FIELDS, validate

ROOT = Path("docs/results")
COMPARED = ("kind", "columns", "tolerance", "seeds", "spread")
SHOWN = ("torch", "numpy", "numba", "numba-cuda", "nvidia-nvjitlink")


def path_of(chapter: str, root: Path = ROOT) -> Path:
    """Return where the results of chapter `part/slug` lie."""
    return root / f"{chapter}.json"


def read(chapter: str, root: Path = ROOT) -> dict:
    """Read and validate one chapter's file; `LookupError` if it is missing."""
    path = path_of(chapter, root)
    if not path.exists():
        raise LookupError(f"no result file {path}")
    try:
        return validate(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def of_chapter(chapter: str, root: Path = ROOT) -> dict[str, dict]:
    """Return {name: result}, read and validated once per change of the file.

    Not to be changed: the next caller gets the same objects.
    """
    path = path_of(chapter, root)
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    return _of_chapter(chapter, root, stamp)


@functools.lru_cache(maxsize=64)
def _of_chapter(chapter: str, root: Path, stamp: int) -> dict[str, dict]:
    return read(chapter, root)["results"]


def load(reference: str, root: Path = ROOT) -> dict:
    """Return the result that `part/slug:name` names, else `LookupError`."""
    chapter, _, name = reference.partition(":")
    results = of_chapter(chapter, root)
    if name not in results:
        raise LookupError(
            f"no result {name!r} in {path_of(chapter, root)}; "
            f"it has {', '.join(results)}"
        )
    return results[name]


def write(chapter: str, name: str, result: dict, root: Path = ROOT) -> None:
    """Put a result into its chapter's file; the old one stays until done.

    The page that shows the file is laid beside it.
    """
    path = path_of(chapter, root)
    data = {"schema": 1, "chapter": chapter, "results": {}}
    if path.exists():
        data = read(chapter, root)
    fields = dict.fromkeys([*FIELDS, *result])
    data["results"][name] = {f: result[f] for f in fields if f in result}
    data["results"] = dict(sorted(data["results"].items()))
    text = _pretty(validate(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".json.part")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
    path.with_suffix(".md").write_text(stub(chapter), encoding="utf-8")


def stub(chapter: str) -> str:
    """Return the text of the page that shows a file: see `overviews`."""
    return f"```results\nfile: {chapter}\n```\n"


def _pretty(data: dict) -> str:
    """JSON with one table row per line, so that a diff reads as a table."""
    rows = {}

    def hold(row):
        rows[key := f"@row{len(rows)}@"] = json.dumps(row, ensure_ascii=False)
        return key

    held = json.loads(json.dumps(data))
    for result in held["results"].values():
        result["rows"] = [hold(row) for row in result["rows"]]
        result["columns"] = [hold(column) for column in result["columns"]]
        for field in {"seeds", "spread", "confirmed"} & set(result):
            result[field] = hold(result[field])
    text = json.dumps(held, indent=1, ensure_ascii=False)
    for key, row in rows.items():
        text = text.replace(f'"{key}"', row)
    return text + "\n"


def fingerprint(result: dict, sources: str) -> str:
    """Return the digest of what a comparison would compare, and with what.

    `sources` is the fingerprint of the bench, as `closure` makes it. The
    rows are part of it, so a number changed by hand is computed again.
    """
    kept = {field: result.get(field) for field in (*COMPARED, "rows")}
    text = json.dumps([sources, kept], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_fresh(result: dict, sources: str) -> bool:
    """Whether a result was confirmed with these very sources."""
    confirmed = result.get("confirmed", {}).get("fingerprint")
    return confirmed == fingerprint(result, sources)


def confirmed(result: dict, bench: str, sources: str) -> dict:
    """Return the result with a note that `bench` gave it, from `sources`.

    A timing does not come out again, so it only gets its bench's name.
    """
    noted = {**result, "bench": bench}
    if result["kind"] != "timing":
        noted["confirmed"] = {
            "date": datetime.date.today().isoformat(),
            "fingerprint": fingerprint(result, sources),
        }
    return noted


def differences(old: dict, new: dict) -> list[str]:
    """Say where a recomputed result differs from the file.

    Timings are never compared: an empty list.
    """
    if old["kind"] == new["kind"] == "timing":
        return []
    for field in COMPARED:
        if old.get(field) != new.get(field):
            return [f"{field}: {old.get(field)} became {new.get(field)}"]
    if len(old["rows"]) != len(new["rows"]):
        return [f"rows: {len(old['rows'])} became {len(new['rows'])}"]
    return [
        f"row {i}, {column['name']}: {a!r} became {b!r}"
        for i, rows in enumerate(zip(old["rows"], new["rows"], strict=True))
        for column, a, b in zip(old["columns"], *rows, strict=True)
        if not _same(a, b, *_limits(old, column["name"]))
    ]


def _limits(result: dict, column: str) -> tuple[float, float]:
    """Return by how much cells may differ, relatively and absolutely."""
    limit = result.get("spread", {}).get(column, 0.0)
    if result["kind"] == "trained":
        return 0.0, math.inf if limit is None else limit
    tolerance = result["tolerance"] if result["kind"] == "tolerance" else 0.0
    return tolerance, max(tolerance**2, limit)


def _same(a, b, relative: float, absolute: float) -> bool:
    if absolute == math.inf:  # shown, and not compared
        return True
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=relative, abs_tol=absolute)
    return a == b


def provenance(threads: int, gpu: str | None = None) -> dict:
    """Say where and with what a result is made: the `run` of a result."""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "cpu": _cpu(),
        "gpu": gpu,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": threads,
        "os": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **_versions()},
    }


@functools.cache
def _cpu() -> str:
    from cpuinfo import get_cpu_info

    return get_cpu_info().get("brand_raw") or platform.processor() or "unknown"


def _versions() -> dict[str, str]:
    found = {}
    for name in SHOWN:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    def git(*words):
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    changed = git("status", "--porcelain", "--", "src", "tests")
    return git("rev-parse", "--short=10", "HEAD") + "-dirty" * bool(changed)
