"""The date task: "Tuesday 3 March 2026" in, "2026-03-03" out.

Every way of writing means one day only, within the hundred years used here.
So there is no 3/4/26, which is March or April depending on the reader, while
dots put the day first everywhere and a year in front is followed by the
month.

    SOURCE, TARGET = vocabularies of the two sides
    dates(n, seed) = n pairs (text, ISO 8601 date)
    batch(n, seed) = the same as numbers
"""

import datetime
import random
import string
from functools import cache

from llmnotes.sequence.seq2seq.pairs import Batch, Vocabulary, collate

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
    "Sunday",
)  # fmt: skip
FIRST = datetime.date(1950, 1, 1)
LAST = datetime.date(2049, 12, 31)  # so that two digits name one year
HELD_OUT = 10  # one day in ten is for testing
SHUFFLE = 18  # the seed of that; with it 3 March 2026 is held out

_LETTERS = set("".join(MONTHS + WEEKDAYS) + "the of st nd rd th")
SOURCE = Vocabulary(sorted(_LETTERS | set(string.digits + " ,./-'")))
TARGET = Vocabulary(string.digits + "-")


def suffix(day: int) -> str:
    """The ending of an ordinal number: 1st, 2nd, 3rd, 4th, 11th, 21st."""
    if day in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def ways_to_write(day: datetime.date) -> tuple[str, ...]:
    """All ways in which the task writes a day."""
    name, month = WEEKDAYS[day.weekday()], MONTHS[day.month - 1]
    d, m, y = day.day, day.month, day.year
    return (
        f"{name} {d} {month} {y}",
        f"{name}, {month} {d}, {y}",
        f"{name[:3]} {d} {month[:3]} {y}",
        f"{d} {month} {y}",
        f"{month} {d}, {y}",
        f"the {d}{suffix(d)} of {month} {y}",
        f"{month[:3]} {d}{suffix(d)}, {y}",
        f"{d}-{month[:3]}-{y}",
        f"{d} {month} '{y % 100:02}",
        f"{d:02}.{m:02}.{y}",
        f"{y}/{m}/{d}",
    )


@cache
def days(held_out: bool = False) -> tuple[datetime.date, ...]:
    """The days to learn from, or those held out: no day is in both."""
    span = (LAST - FIRST).days + 1
    everything = [FIRST + datetime.timedelta(n) for n in range(span)]
    random.Random(SHUFFLE).shuffle(everything)
    cut = span // HELD_OUT
    return tuple(everything[:cut] if held_out else everything[cut:])


def dates(
    n: int, seed: int, *, held_out: bool = False
) -> list[tuple[str, str]]:
    """`n` pairs (text, ISO date), a pure function of the arguments.

    Raises `ValueError` if n is below 1.
    """
    if n < 1:
        raise ValueError(f"n: got {n}, expected at least 1")
    chance = random.Random(seed)
    drawn = chance.choices(days(held_out), k=n)
    return [(chance.choice(ways_to_write(d)), d.isoformat()) for d in drawn]


def batch(n: int, seed: int, *, held_out: bool = False) -> Batch:
    """`n` pairs as numbers, filled up with PAD."""
    return collate(dates(n, seed, held_out=held_out), SOURCE, TARGET)
