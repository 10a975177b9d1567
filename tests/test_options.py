"""What the options of the command line claim about the numbers they read."""

import argparse
import math

import pytest

from llmnotes.options import SAMPLE, TRAIN, number


@pytest.mark.parametrize(
    ("kind", "low", "high", "text", "value"),
    [
        (int, 0, math.inf, "0", 0),
        (int, 1, math.inf, "4000", 4000),
        (float, 0, 1, "1", 1.0),
        (float, 0, math.inf, "1e-3", 1e-3),
    ],
)
def test_a_number_within_its_bounds_is_read(kind, low, high, text, value):
    found = number(kind, low, high)(text)
    assert (found, type(found)) == (value, kind)


@pytest.mark.parametrize(
    ("kind", "low", "high", "text", "expected"),
    [
        (int, 1, math.inf, "0", "got 0, expected an integer, 1 or more"),
        (int, 0, math.inf, "2.5", "got 2.5, expected an integer, 0 or more"),
        (float, 0, 1, "nan", "got nan, expected a number, 0 to 1"),
        (float, 0, 1, "1.5", "got 1.5, expected a number, 0 to 1"),
        (float, 0, math.inf, "two", "got two, expected a number, 0 or more"),
    ],
)
def test_any_other_is_told_with_its_bounds(kind, low, high, text, expected):
    with pytest.raises(argparse.ArgumentTypeError) as error:
        number(kind, low, high)(text)
    assert str(error.value) == expected


def test_every_option_says_what_it_is_for():
    for name, settings in {**TRAIN, **SAMPLE}.items():
        assert settings["help"], name
        assert settings["help"].isascii(), name  # any terminal can show it
