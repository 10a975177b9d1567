"""Result files: every number of the book that was run, with its source.

One file per chapter, docs/results/<part>/<slug>.json, written only by the
chapter's tests/<part>/bench_<slug>.py. A result is a table with a kind:

    exact      = integers or strings; CI recomputes and compares for equality
    tolerance  = floats; CI recomputes and compares to a relative tolerance
    timing     = seconds, bytes of a process, ...; shown with their machine,
                 validated in CI, never compared
"""

import datetime
import functools
import json
import math
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jsonschema

ROOT = Path("docs/results")
KINDS = ("exact", "tolerance", "timing")
SHOWN = ("torch", "numpy", "numba", "numba-cuda", "nvidia-nvjitlink")

_CELL = {"type": ["number", "string", "null"]}
_COLUMN = {
    "type": "object",
    "required": ["name", "unit"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
        "unit": {"type": "string"},
        "label": {"type": "string", "minLength": 1},
    },
}
_RUN = {
    "type": "object",
    "required": [
        "date",
        "commit",
        "cpu",
        "gpu",
        "cores",
        "threads",
        "os",
        "versions",
    ],
    "additionalProperties": False,
    "properties": {
        "date": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"},
        "commit": {"type": "string", "pattern": r"^[0-9a-f]{7,40}(-dirty)?$"},
        "cpu": {"type": "string", "minLength": 1},
        "gpu": {"type": ["string", "null"]},
        "cores": {"type": "integer", "minimum": 1},
        "threads": {"type": "integer", "minimum": 1},
        "os": {"type": "string", "minLength": 1},
        "versions": {
            "type": "object",
            "required": ["python"],
            "additionalProperties": {"type": "string"},
        },
    },
}
_RESULT = {
    "type": "object",
    "required": [
        "kind",
        "title",
        "prediction",
        "command",
        "seed",
        "run",
        "columns",
        "rows",
    ],
    "additionalProperties": False,
    "properties": {
        "kind": {"enum": list(KINDS)},
        "title": {"type": "string", "minLength": 1},
        "prediction": {"type": "string", "minLength": 1},
        "command": {"type": "string", "minLength": 1},
        "seed": {"type": ["integer", "null"]},
        "tolerance": {"type": "number", "exclusiveMinimum": 0},
        "run": _RUN,
        "columns": {"type": "array", "minItems": 1, "items": _COLUMN},
        "rows": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "items": _CELL},
        },
    },
    "if": {"properties": {"kind": {"const": "tolerance"}}},
    "then": {"required": ["tolerance"]},
}
SCHEMA = {
    "type": "object",
    "required": ["schema", "chapter", "results"],
    "additionalProperties": False,
    "properties": {
        "schema": {"const": 1},
        "chapter": {"type": "string", "pattern": "^[a-z_0-9]+/[a-z_0-9]+$"},
        "results": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[a-z][a-z0-9_]*$"},
            "additionalProperties": _RESULT,
        },
    },
}


def path_of(chapter: str, root: Path = ROOT) -> Path:
    """Return where the results of chapter `part/slug` lie."""
    return root / f"{chapter}.json"


def validate(data: dict) -> dict:
    """Return `data` if it is a valid result file, else raise `ValueError`."""
    try:
        jsonschema.validate(data, SCHEMA)
    except jsonschema.ValidationError as error:
        raise ValueError(f"{error.json_path}: {error.message}") from None
    for name, result in data["results"].items():
        width = len(result["columns"])
        for i, row in enumerate(result["rows"]):
            if len(row) != width:
                raise ValueError(
                    f"$.results.{name}.rows[{i}]: got {len(row)} cells, "
                    f"expected {width}"
                )
    return data


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
    """Put a result into its chapter's file; the old one stays until done."""
    path = path_of(chapter, root)
    data = {"schema": 1, "chapter": chapter, "results": {}}
    if path.exists():
        data = read(chapter, root)
    data["results"][name] = result
    data["results"] = dict(sorted(data["results"].items()))
    text = _pretty(validate(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".json.part")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)


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
    text = json.dumps(held, indent=1, ensure_ascii=False)
    for key, row in rows.items():
        text = text.replace(f'"{key}"', row)
    return text + "\n"


def differences(old: dict, new: dict) -> list[str]:
    """Say where a recomputed exact or tolerance result differs from the file.

    Timings are never compared: an empty list.
    """
    if old["kind"] == "timing":
        return []
    for field in ("kind", "columns", "tolerance"):
        if old.get(field) != new.get(field):
            return [f"{field}: {old.get(field)} became {new.get(field)}"]
    tolerance = old["tolerance"] if old["kind"] == "tolerance" else 0.0
    if len(old["rows"]) != len(new["rows"]):
        return [f"rows: {len(old['rows'])} became {len(new['rows'])}"]
    return [
        f"row {i}, {column['name']}: {a!r} became {b!r}"
        for i, rows in enumerate(zip(old["rows"], new["rows"], strict=True))
        for column, a, b in zip(old["columns"], *rows, strict=True)
        if not _same(a, b, tolerance)
    ]


def _same(a, b, tolerance: float) -> bool:
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance**2)
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
