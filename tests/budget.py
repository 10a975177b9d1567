"""What the proof of each chapter costs: a table after the run, `--budget`.

cpu     = seconds of processor: a test with its fixtures, and the processes
          that it waited for
start   = imports and collection, in each process of the run
budget  = what a chapter should stay under; printed, and no gate
per page = tests of the site that have a chapter's page as parameter
"""

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from llmnotes._site import owner

BUDGET = 15.0  # CPU seconds a chapter
FIFTY = 50  # chapters that the book will have
ROOT = Path(__file__).parents[1]
STARTED = pytest.StashKey[float]()
CALLED = pytest.StashKey[float]()
LAST = pytest.StashKey[bool]()
HOUSE, PAGES, START = "the house", "its tests per page", "start"


def cpu() -> float:
    """Seconds of processor so far: ours, and our finished children's."""
    return sum(os.times()[:4])


def pytest_addoption(parser):
    """`make test` asks for the table."""
    parser.addoption(
        "--budget", action="store_true", help="print what each chapter costs"
    )


def pytest_configure(config):
    """The process that prints keeps the books."""
    if config.getoption("--budget") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Books(), "books")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Note when a test begins, its fixtures included."""
    item.stash[STARTED] = cpu()
    item.stash[LAST] = nextitem is None
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Write on the last report of a test what all of it took.

    What is taken down after the last test, such as the browser, is not its.
    """
    report = yield
    if report.when == "call":
        item.stash[CALLED] = cpu()
    if report.when == "teardown":
        last = item.stash[LAST] and item.stash.get(CALLED, None)
        report.cpu = (last or cpu()) - item.stash[STARTED]
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Tell the process that prints what all of this one took."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["cpu"] = cpu()


class Books:
    """Tests and CPU seconds, by who owns the test."""

    def __init__(self, root: Path = ROOT):
        self.written = [c.key for c in owner.written(root)]
        self.keys = list(owner.book(root))
        self.tests, self.spent = Counter(), Counter()
        self.whole, self.began = 0.0, time.perf_counter()

    def whose(self, nodeid: str) -> str:
        """The row of a test: a chapter's, the house's, or per page."""
        file, _, case = nodeid.partition("::")
        if key := owner.owner(Path(file), self.keys):
            return key
        inside = case.partition("[")[2].rpartition("]")[0]
        return PAGES if any(k in inside for k in self.written) else HOUSE

    def pytest_runtest_logreport(self, report):
        """Book a test that has ended."""
        if report.when == "teardown":
            row = self.whose(report.nodeid)
            self.tests[row] += 1
            self.spent[row] += getattr(report, "cpu", 0.0)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        """Take what a process of pytest-xdist tells at its end."""
        self.whole += getattr(node, "workeroutput", {}).get("cpu", 0.0)

    def pytest_terminal_summary(self, terminalreporter):
        """Print the table and what it would be for fifty chapters."""
        # Behind workers, our children are they, and have told already.
        self.whole += sum(os.times()[:2]) if self.whole else cpu()
        self.spent[START] = max(0.0, self.whole - self.spent.total())
        terminalreporter.section("what each chapter's proof costs")
        for line in self.table(time.perf_counter() - self.began):
            terminalreporter.write_line(line)

    def table(self, wall: float) -> list[str]:
        """The lines: chapters in reading order, then the rest."""
        rows = [k for k in self.keys if self.tests[k]]
        rest = HOUSE, PAGES, START
        rows += [r for r in rest if self.tests[r] or self.spent[r]]
        lines = [f"{'':30}{'tests':>7}{'CPU s':>8}   of {BUDGET:.0f} s"]
        for row in rows:
            share = ""
            if row in self.keys:
                over = " over" if self.spent[row] > BUDGET else ""
                share = f"{self.spent[row] / BUDGET:8.0%}{over}"
            count = self.tests[row] or ""
            lines.append(f"{row:30}{count:>7}{self.spent[row]:8.1f}{share}")
        total = self.spent.total()
        lines.append(
            f"{'all, ' + clock(wall):30}{self.tests.total():>7}{total:8.1f}"
        )
        return lines + self.projection(wall)

    def projection(self, wall: float) -> list[str]:
        """Fifty chapters like these; the house and half the start stay.

        How much of the wall is spent on tests stays as it is, too.
        """
        here = [k for k in self.keys if self.tests[k]]
        if len(here) < len(self.written):
            return []  # a part of the run says nothing about the whole
        times = FIFTY / len(self.written)
        grows = sum(self.spent[k] for k in here) + self.spent[PAGES]
        grows += self.spent[START] / 2
        total = self.spent.total()
        then = total + grows * (times - 1)
        return [
            f"{len(self.written)} chapters now; {FIFTY} like them: "
            f"{then:.0f} CPU s, {clock(wall * then / total)} on this machine"
        ]


def clock(seconds: float) -> str:
    """Minutes and seconds: 4 min 05 s."""
    return f"{int(seconds) // 60} min {int(seconds) % 60:02} s"
