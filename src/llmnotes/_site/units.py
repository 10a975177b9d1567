"""The unit of a number that is reckoned from several cells.

    read("B/s")                    {"B": 1, "s": -1}
    read("tokens")                 {}: a count has no unit
    combined(ast.Div, B, s)        {"B": 1, "s": -1}, written B/s

A plain number (ANY) goes with every unit; a sum needs equal ones.
"""

import ast
from collections import Counter

Unit = Counter[str]  # symbol -> power; None for a plain number
ANY = None
SYMBOLS = {"s", "B", "FLOP", "Hz"}


def read(unit: str) -> Unit:
    """Return the powers in a column's unit, such as s, FLOP/s or none."""
    above, _, below = unit.partition("/")
    found = Counter(filter(None, [above]))
    found.subtract(filter(None, [below]))
    return Counter({s: p for s, p in found.items() if s in SYMBOLS})


def combined(operator: type, left: Unit | None, right: Unit | None):
    """Return the unit of left and right under an operator of `ast`.

    Raises `LookupError` for a sum or difference of different units.
    """
    if operator in (ast.Add, ast.Sub):
        if left and right and left != right:
            raise LookupError(f"adds {written(left)!r} and {written(right)!r}")
        return left if right is ANY else right
    sign = 1 if operator is ast.Mult else -1
    powers = Counter(left or {})
    for symbol, power in (right or {}).items():
        powers[symbol] += sign * power
    return Counter({s: p for s, p in powers.items() if p})


def written(unit: Unit | None) -> str:
    """Return a unit as text: B/s; a power stands as often as it counts."""
    above = [s for s, p in (unit or {}).items() for _ in range(p)]
    below = [s for s, p in (unit or {}).items() for _ in range(-p)]
    return "/".join(["·".join(above) or "1" * bool(below), *below])
