"""Sampled tests: a few cases in each run, the same ones for the same seed."""

import pytest

CASES = """
import pytest

@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", range(40))
def test_dear(case):
    print(f"ran {case};")

@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", range(2))
def test_few(case):
    pass
"""
FULL = """
def pytest_addoption(parser):
    parser.addoption("--full", action="store_true")
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run the cases: what passed, and which of the dear ones."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeconftest(FULL)
    pytester.makepyfile(test_cases=CASES)

    def go(*options):
        done = pytester.runpytest_inprocess(
            "-p", "tests.sampling", "-s", *options
        )
        words = str(done.stdout).split("ran ")[1:]
        return done, {int(word.partition(";")[0]) for word in words}

    return go


def test_as_many_are_kept_as_asked_and_the_others_are_counted(run):
    done, ran = run()
    done.assert_outcomes(passed=5, deselected=37)
    assert len(ran) == 3


def test_the_seed_of_the_header_repeats_the_run_and_another_does_not(run):
    done, ran = run()
    (line,) = [s for s in done.stdout.lines if s.startswith("sampled tests")]
    _, again = run(line.split()[-1])
    assert again == ran
    others = [run(f"--sample-seed={seed}")[1] for seed in range(4)]
    assert any(other != ran for other in others)
    assert len(set().union(*others)) > 3


@pytest.mark.parametrize(
    "option, passed", [("--full", 42), ("test_cases.py::test_dear", 40)]
)
def test_a_full_run_and_a_test_that_is_named_leave_nothing_out(
    run, option, passed
):
    done, ran = run(option)
    done.assert_outcomes(passed=passed)
    assert ran == set(range(40))
