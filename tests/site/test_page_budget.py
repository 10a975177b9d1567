"""What is over a page's budget has a star, and only that."""

import pytest

from tests.site.page_budget import LEAST, MOST, over, table

INSIDE = MOST | LEAST


@pytest.mark.parametrize("name", INSIDE)
def test_the_limit_itself_is_within_the_budget(name):
    assert not over(name, INSIDE[name])


@pytest.mark.parametrize("name", MOST)
def test_more_than_the_most_is_over(name):
    assert over(name, MOST[name] + 1) and not over(name, -1)


@pytest.mark.parametrize("name", LEAST)
def test_less_than_the_least_is_over(name):
    assert over(name, LEAST[name] - 1) and not over(name, 1e6)


def test_the_table_stars_what_is_over():
    rows = {"a/": INSIDE, "b/": INSIDE | {"code": 31}}
    _, good, bad, budget = table(rows).split("\n")
    assert "*" not in good and bad.count("*") == 1 and "31*" in bad
    assert budget.startswith("budget") and "15,000" in budget
