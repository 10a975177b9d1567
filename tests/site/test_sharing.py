"""A file's tests stay in one process; a page's visits, too."""

import pytest

from tests.sharing import share_of

MANY = """
import os, pathlib, pytest

@pytest.mark.parametrize("i", range(9))
def test_who_runs(i):
    with open("{log}", "a") as log:
        print(pathlib.Path(__file__).stem, os.getpid(), file=log)
"""


@pytest.mark.parametrize(
    "nodeid, share",
    [
        ("docs/a.md::line:3,column:1", "docs/a.md"),
        ("tests/a/test_model.py::test_b[1]", "tests/a/test_model.py"),
        ("site/test_browser.py::test_axe[a/b/]", "site/test_browser.py a/b/"),
        ("site/test_browser.py::test_axe[home]", "site/test_browser.py home"),
        ("site/test_browser.py::TestByHand::test_c", "site/test_browser.py"),
        (
            "site/test_browser.py::TestByHand::test_c[x]",
            "site/test_browser.py",
        ),
    ],
)
def test_what_belongs_together_is_one_share(nodeid, share):
    assert share_of(nodeid) == share


def test_two_processes_never_share_a_file(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    log = pytester.path / "log"
    names = [f"test_{i}" for i in range(6)]
    pytester.makepyfile(**dict.fromkeys(names, MANY.format(log=log)))
    pytester.runpytest_inprocess(
        "-p", "xdist", "-p", "tests.sharing", "-n", "2"
    ).assert_outcomes(passed=54)
    ran = {tuple(line.split()) for line in log.read_text().splitlines()}
    assert sorted(name for name, _ in ran) == names
    assert len({process for _, process in ran}) == 2
