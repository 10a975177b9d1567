"""What the date task promises, proved."""

import datetime
import re

import pytest

from llmnotes.sequence.seq2seq.pairs import END, PAD, START
from llmnotes.sequence.seq2seq.task import (
    FIRST,
    LAST,
    MONTHS,
    SOURCE,
    TARGET,
    WEEKDAYS,
    batch,
    dates,
    days,
    suffix,
    ways_to_write,
)

FORMATS = (
    "%A %d %B %Y",
    "%A, %B %d, %Y",
    "%a %d %b %Y",
    "%d %B %Y",
    "%B %d, %Y",
    "the %d of %B %Y",
    "%b %d, %Y",
    "%d-%b-%Y",
    "%d %B '%y",
    "%d.%m.%Y",
    "%Y/%m/%d",
)


def test_the_tuesday_of_the_introduction():
    texts = ways_to_write(datetime.date(2026, 3, 3))
    assert texts[0] == "Tuesday 3 March 2026"
    assert "the 3rd of March 2026" in texts and "03.03.2026" in texts


def test_every_text_means_its_day_to_pythons_own_parser():
    for day in days()[:150]:
        texts = ways_to_write(day)
        for text, form in zip(texts, FORMATS, strict=True):
            plain = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", text)
            read = datetime.datetime.strptime(plain, form).date()
            if "%y" in form:  # 50 to 68 are of the last century here
                read = read.replace(year=day.year)
            assert read == day


def test_no_text_means_two_days():
    meaning = {}
    for day in days(held_out=True) + days()[:5000]:
        for text in ways_to_write(day):
            assert meaning.setdefault(text, day) == day


def zeller(day):
    """Weekday by Zeller's congruence: 0 is Saturday."""
    m, y = day.month, day.year
    if m < 3:
        m, y = m + 12, y - 1
    century, rest = divmod(y, 100)
    lean = 13 * (m + 1) // 5 + rest + rest // 4 + century // 4 + 5 * century
    return (day.day + lean) % 7


def test_weekdays_are_right_by_zellers_congruence():
    for day in days(held_out=True):
        name = ways_to_write(day)[0].split()[0]
        assert WEEKDAYS.index(name) == (zeller(day) + 5) % 7


def test_ordinals():
    numbers = (1, 2, 3, 4, 11, 12, 13, 20, 21, 22, 23, 30, 31)
    found = [f"{n}{suffix(n)}" for n in numbers]
    assert " ".join(found) == (
        "1st 2nd 3rd 4th 11th 12th 13th 20th 21st 22nd 23rd 30th 31st"
    )


def test_no_held_out_day_is_learned_from_and_none_is_missing():
    learned, tested = set(days()), set(days(held_out=True))
    assert not learned & tested
    span = (LAST - FIRST).days + 1
    assert len(learned) + len(tested) == span == 36_525
    assert len(tested) == 3_652
    assert datetime.date(2026, 3, 3) in tested  # the chapter's example


def test_the_days_to_learn_from_hold_every_year_month_day_and_weekday():
    for held_out in (False, True):
        some = days(held_out)
        assert len({d.year for d in some}) == 100
        assert {d.month for d in some} == set(range(1, 13))
        assert {d.day for d in some} == set(range(1, 32))
        assert {d.weekday() for d in some} == set(range(7))


def test_the_seed_decides():
    assert dates(50, 3) == dates(50, 3) != dates(50, 4)
    assert not set(dates(50, 3)) & set(dates(50, 3, held_out=True))
    assert len({text for text, _ in dates(50, 3)}) == 50


def test_all_ways_to_write_are_drawn():
    pairs = dates(2000, 0)
    shapes = set()
    for text, _ in pairs:
        words = re.sub(r"\d+", "0", text)
        words = re.sub(r"\b[A-Z][a-z]{2}\b", "Abc", words)
        shapes.add(re.sub(r"\b[A-Z][a-z]{3,}\b", "Name", words))
    assert len(MONTHS) == 12 and len(shapes) >= len(FORMATS)


def test_a_batch_reads_back():
    pairs = dates(20, 7)
    got = batch(20, 7)
    assert got.source.shape[1] == max(len(text) for text, _ in pairs) <= 29
    for row, (text, iso) in enumerate(pairs):
        assert SOURCE.decode(got.source[row]) == text
        assert got.source_lengths[row] == len(text)
        assert TARGET.decode(got.target_out[row]) == iso
    assert (got.target[:, 0] == START).all() and got.target.shape[1] == 12
    assert (got.target[:, -1] == END).all() and (got.target != PAD).all()


def test_a_count_below_one_is_named():
    with pytest.raises(ValueError, match="^n: got 0"):
        dates(0, 1)
