"""A number that is reckoned from several cells has a unit that is, too."""

import ast

import pytest

from llmnotes._site import units

CASES = [
    ("s", ast.Div, "s", ""),
    ("s", ast.Div, "", "s"),
    ("B", ast.Div, "s", "B/s"),
    ("B/s", ast.Mult, "s", "B"),
    ("", ast.Div, "s", "1/s"),
    ("FLOP/s", ast.Div, "B/s", "FLOP/B"),
    ("B", ast.Mult, "B", "B·B"),
    ("s", ast.Add, "s", "s"),
    ("s", ast.Div, "tokens", "s"),
    ("nat", ast.Sub, "nat", ""),
]


@pytest.mark.parametrize(("left", "operator", "right", "expected"), CASES)
def test_units_are_reckoned_as_numbers_are(left, operator, right, expected):
    got = units.combined(operator, units.read(left), units.read(right))
    assert units.written(got) == expected


@pytest.mark.parametrize("operator", [ast.Add, ast.Sub])
def test_seconds_and_bytes_are_not_added(operator):
    with pytest.raises(LookupError, match="adds 's' and 'B'"):
        units.combined(operator, units.read("s"), units.read("B"))


def test_a_plain_number_goes_with_every_unit():
    seconds = units.read("s")
    for operator in (ast.Add, ast.Sub, ast.Mult, ast.Div):
        got = units.combined(operator, seconds, units.ANY)
        assert units.written(got) == "s"
    assert units.combined(ast.Add, units.ANY, seconds) == seconds
