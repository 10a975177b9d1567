"""The schema of a result file, and what else must hold in a valid one.

exact      = integers or strings; CI recomputes and compares for equality
tolerance  = floats; CI recomputes and compares to a relative tolerance. A
             column of rounding errors, which every processor makes others
             of, may differ by what `spread` says, as an absolute number
trained    = losses, accuracies, ... of models trained with `seeds`; the
             weekly run trains again, and a column named in `spread` may
             differ by so much (null: it is shown and not compared). It is a
             `race` or an `example`
timing     = seconds, bytes of a process, ...; shown with their machine,
             validated in CI, never compared

race       = what a ranking owes its contestants: three seeds or more with
             their spread, a standard start of each, a rate of each that lies
             inside its grid, grids of one size, and the choice made on other
             data than the report
example    = what a trained model is shown for that is ranked with nothing
"""

from collections.abc import Iterator

import jsonschema

KINDS = ("exact", "tolerance", "trained", "timing")

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
_CONFIRMED = {
    "type": "object",
    "required": ["date", "fingerprint"],
    "additionalProperties": False,
    "properties": {
        "date": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"},
        "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    },
}
_GRID = {
    "type": "object",
    "required": ["tried", "best"],
    "additionalProperties": False,
    "properties": {
        "tried": {
            "type": "array",
            "minItems": 3,
            "uniqueItems": True,
            "items": {"type": "number"},
        },
        "best": {"type": "number"},
    },
}
_TEXT = {"type": "string", "minLength": 1}
_RACE = {
    "type": "object",
    "required": [
        "column",
        "baseline",
        "starts",
        "rates",
        "chosen_on",
        "reported_on",
    ],
    "additionalProperties": False,
    "properties": {
        "column": _TEXT,
        "baseline": _TEXT,
        "starts": {
            "type": "object",
            "minProperties": 2,
            "additionalProperties": _TEXT,
        },
        "rates": {
            "type": "object",
            "minProperties": 2,
            "additionalProperties": _GRID,
        },
        "chosen_on": _TEXT,
        "reported_on": _TEXT,
    },
}
# What a kind must say besides.
_NEEDS = {
    "exact": ["seed"],
    "tolerance": ["seed", "tolerance"],
    "trained": ["seeds", "spread"],
    "timing": ["seed"],
}
_RESULT = {
    "type": "object",
    "required": [
        "kind",
        "title",
        "prediction",
        "command",
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
        "bench": {"type": "string", "pattern": "^bench_[a-z0-9_]+$"},
        "seed": {"type": ["integer", "null"]},
        "seeds": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "integer"},
        },
        "tolerance": {"type": "number", "exclusiveMinimum": 0},
        "spread": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": ["number", "null"],
                "exclusiveMinimum": 0,
            },
        },
        "race": _RACE,
        "example": _TEXT,
        "run": _RUN,
        "confirmed": _CONFIRMED,
        "columns": {"type": "array", "minItems": 1, "items": _COLUMN},
        "rows": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "items": _CELL},
        },
    },
    "allOf": [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {"required": fields},
        }
        for kind, fields in _NEEDS.items()
    ],
}
FIELDS = tuple(_RESULT["properties"])  # in the order of a file
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


def _loose(result: dict) -> Iterator[str]:
    """Say which columns that are compared have no limit at all."""
    if result["kind"] != "trained":
        for name, limit in result.get("spread", {}).items():
            if limit is None:
                yield f"spread: {name}: got no limit, expected a number"


def validate(data: dict) -> dict:
    """Return `data` if it is a valid result file, else raise `ValueError`."""
    try:
        jsonschema.validate(data, SCHEMA)
    except jsonschema.ValidationError as error:
        raise ValueError(f"{error.json_path}: {error.message}") from None
    for name, result in data["results"].items():
        names = [column["name"] for column in result["columns"]]
        for wrong in [*_loose(result), *unfair(result)]:
            raise ValueError(f"$.results.{name}: {wrong}")
        if unknown := set(result.get("spread", ())) - set(names):
            raise ValueError(
                f"$.results.{name}.spread: no column {min(unknown)!r}; "
                f"it has {', '.join(names)}"
            )
        for i, row in enumerate(result["rows"]):
            if len(row) != len(names):
                raise ValueError(
                    f"$.results.{name}.rows[{i}]: got {len(row)} cells, "
                    f"expected {len(names)}"
                )
    return data


def unfair(result: dict) -> Iterator[str]:
    """Say in what a trained result falls short of a fair race."""
    race, example = result.get("race"), result.get("example")
    if result["kind"] != "trained":
        if race or example:
            yield "only trained results are a race or an example"
        return
    if (race is None) == (example is None):
        yield "a trained result is either a race or an example"
    if race:
        yield from _unspread(result)
        yield from _unequal(race, result)


def _unspread(result: dict) -> Iterator[str]:
    """At least three seeds, and how far apart they came out."""
    if len(result["seeds"]) < 3:
        yield f"race: got {len(result['seeds'])} seeds, expected 3 or more"
    names = {column["name"] for column in result["columns"]}
    if not ({"seed"} <= names or {"lowest", "highest"} <= names):
        yield "race: its columns show no spread: seed, or lowest and highest"


def _unequal(race: dict, result: dict) -> Iterator[str]:
    """The same care for each contestant."""
    names = [column["name"] for column in result["columns"]]
    if race["column"] not in names:
        yield f"race.column: no column {race['column']!r}"
        return
    j = names.index(race["column"])
    runners = {row[j] for row in result["rows"]}
    if runners != set(race["starts"]):
        yield (
            f"race.starts: got {sorted(race['starts'])}, expected the "
            f"contestants {sorted(runners)}"
        )
    if race["baseline"] not in runners:
        yield f"race.baseline: {race['baseline']!r} is no contestant"
    if race["chosen_on"] == race["reported_on"]:
        yield "race: its rates are chosen on what is reported"
    tuned = {who.partition(" · ")[0] for who in race["rates"]}
    if tuned != runners:
        yield f"race.rates: got {sorted(tuned)}, expected {sorted(runners)}"
    if len({len(grid["tried"]) for grid in race["rates"].values()}) > 1:
        yield "race.rates: the grids have different sizes"
    for who, grid in race["rates"].items():
        if not min(grid["tried"]) < grid["best"] < max(grid["tried"]):
            yield f"race.rates: {who}: the best is at the edge of its grid"
