"""Dear cases of one claim: a few in each run, other ones after each commit.

`@pytest.mark.sampled(n)` above a parametrized test keeps n of its cases. The
seed is the commit unless `--sample-seed` says another, and stands in the
header, so that a run can be repeated. `--full` keeps all, as does a case or
test that is named on the command line.
"""

import random
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest


def pytest_addoption(parser):
    """The seed, to repeat a run."""
    parser.addoption(
        "--sample-seed", help="draws the cases of sampled tests; or the commit"
    )


def pytest_configure(config):
    """Take the commit where no seed is given; workers are told the seed."""
    config.addinivalue_line(
        "markers", "sampled(n): keep n cases, drawn anew after each commit"
    )
    if config.option.sample_seed is None:
        config.option.sample_seed = commit()


def commit() -> str:
    """The short name of the commit, or "none" outside a repository."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    return found.stdout.strip() or "none"


def pytest_report_header(config):
    """Say what a repetition needs."""
    if everything(config):
        return "sampled tests: every case"
    return f"sampled tests: --sample-seed={config.option.sample_seed}"


def everything(config) -> bool:
    """Whether nothing is left out."""
    return config.getoption("--full", False) or any(
        "::" in str(argument) for argument in config.args
    )


@pytest.hookimpl(trylast=True)  # after -m and -k, which choose by name
def pytest_collection_modifyitems(config, items):
    """Deselect what was not drawn."""
    if everything(config):
        return
    tests = defaultdict(list)
    for item in items:
        if mark := item.get_closest_marker("sampled"):
            name = item.nodeid.split("[")[0]
            tests[name, mark.args[0]].append(item)
    out = set()
    for (name, keep), cases in tests.items():
        draw = random.Random(f"{config.option.sample_seed} {name}")
        kept = draw.sample(cases, min(keep, len(cases)))
        out |= set(cases) - set(kept)
    if out:
        config.hook.pytest_deselected(items=list(out))
        items[:] = [item for item in items if item not in out]
