"""A grid is a picture of weights, with marks beside it where asked for."""

import re
import xml.etree.ElementTree as etree

from llmnotes._site import grids

COLUMNS = [{"name": "written"}, {"name": "1 T"}, {"name": "2 &"}]
ROWS = [["1 e", 0.5, 0.25], ["2 end", 0.0, None]]


def texts(picture):
    return [t.text for t in etree.fromstring(picture).iter() if t.text]


def test_marks_are_the_last_words_of_both_axes():
    marks = grids._marks(COLUMNS, ROWS)
    picture = grids.svg([row[1:] for row in ROWS], marks)
    assert texts(picture) == ["T", "&", "e", "end"]
    assert picture.count("<rect") == 2


def test_marks_get_room_and_only_then():
    weights = [row[1:] for row in ROWS]
    plain, marked = grids.svg(weights), grids.svg(weights, "<text/>")
    assert 'viewBox="-1 -1 34 34"' in plain
    assert 'viewBox="-30 -18 63 51"' in marked


def test_where_picks_the_grids_that_are_shown():
    columns = [{"name": name, "unit": ""} for name in ("head", "i", "j", "w")]
    rows = [[head, 0, 0, w] for head, w in (("a", 0.1), ("b", 0.2), ("c", 1))]
    result = {"columns": columns, "rows": rows}
    given = {"by": "head", "where": "head=a|c"}
    assert grids._names(result, given) == ["a", "c"]
    assert grids._names(result, {"by": "head"}) == ["a", "b", "c"]


def test_where_picks_rows_and_columns_too(shared):
    fence = (
        "# T\n\n```grid\ngrid: basics/first:speed\nx: n\ny: method\n"
        "value: seconds\nwhere: n=512|2048\nalt: Two by two.\n```\n"
    )
    heads = re.findall(
        r'<th scope="col"[^>]*>([^<]+)<', shared.html("p", fence)
    )
    assert heads[1:] == ["512 ", "2,048 "]
