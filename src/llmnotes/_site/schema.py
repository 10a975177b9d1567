"""The schema of a result file, and what else must hold in a valid one.

exact      = integers or strings; CI recomputes and compares for equality
tolerance  = floats; CI recomputes and compares to a relative tolerance
trained    = losses, accuracies, ... of models trained with `seeds`; the
             weekly run trains again, and a column named in `spread` may
             differ by so much (null: it is shown and not compared)
timing     = seconds, bytes of a process, ...; shown with their machine,
             validated in CI, never compared
"""

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


def validate(data: dict) -> dict:
    """Return `data` if it is a valid result file, else raise `ValueError`."""
    try:
        jsonschema.validate(data, SCHEMA)
    except jsonschema.ValidationError as error:
        raise ValueError(f"{error.json_path}: {error.message}") from None
    for name, result in data["results"].items():
        names = [column["name"] for column in result["columns"]]
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
