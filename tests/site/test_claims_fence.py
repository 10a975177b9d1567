"""The list of claims shows tests that are there, or the build fails."""

import pytest

TEST = "def test_one_is_one():\n    assert 1 == 1\n\n\n"
OTHER = "def test_two_and_more():\n    assert 2\n"


def fence(body):
    return f"# T\n\n```claims\n{body}\n```\n"


@pytest.fixture
def proved(site):
    """The tiny site, with two tests of the chapter basics/first."""
    site.write("src/llmnotes/basics/first.py", "")
    site.write("tests/basics/test_first.py", TEST + OTHER)
    return site


def test_a_claim_is_the_name_of_its_test_and_opens_it(proved):
    body = "tests.basics.test_first\ntest_one_is_one"
    html = proved.html("page", fence(body))
    assert "<summary>one is one</summary>" in html
    assert "test_one_is_one" in html and "test_two" not in html


def test_words_after_the_colon_are_the_claim(proved):
    body = "tests.basics.test_first\ntest_one_is_one: `1` is < 2"
    html = proved.html("page", fence(body))
    assert "<summary><code>1</code> is &lt; 2</summary>" in html


def test_others_are_what_no_list_of_the_page_has_told(proved):
    body = "tests.basics.test_first\ntest_one_is_one\nothers"
    html = proved.html("basics__first", fence(body))
    assert "<summary>1 more claim of this chapter</summary>" in html
    lines = "blob/main/tests/basics/test_first.py#L5"
    assert f'{lines}">two and more</a></li>' in html
    all_told = fence(body.replace("others", "test_two_and_more\nothers"))
    assert "more claim" not in proved.html("basics__first", all_told)


@pytest.mark.parametrize(
    "body, cause",
    [
        ("test_one_is_one", "comes before its module"),
        ("tests.basics.test_first\ntest_none", "no symbol"),
        ("tests.basics.test_second\ntest_one", "no module"),
        ("tests.basics.test_first\nsomething", "is not tests.part.module"),
        ("tests.basics.test_first\nothers", "only a chapter has tests"),
    ],
)
def test_a_claim_without_a_test_ends_the_build(proved, body, cause):
    assert cause in proved.failure("page", fence(body))
