"""How benches record results, and which of them need not run again.

record   write a result, compare with it, or confirm it

A bench is left out, and counted aloud, while everything that could change
its results is as it was when they were confirmed; `--full` leaves out none.
"""

from pathlib import Path

import pytest
import torch

from llmnotes._site import closure, results

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption(
        "--results",
        choices=("check", "confirm", "write"),
        default="check",
        help="compare results with docs/results where their sources changed;"
        " note there that they came out again; or write new ones",
    )
    parser.addoption(
        "--full",
        action="store_true",
        help="everything, as the weekly run does",
    )


def chapter_of(bench):
    """`part/slug` of tests/<part>/bench_<slug>.py, or in a folder there."""
    part = bench.relative_to(ROOT / "tests").parts[0]
    return f"{part}/{bench.stem.removeprefix('bench_')}"


def home():
    """The folder of result files."""
    return ROOT / results.ROOT


def named_by(item):
    """The results that say that this bench recorded them."""
    try:
        found = results.of_chapter(chapter_of(item.path), home())
    except LookupError:
        return {}
    bench = item.function.__name__
    return {n: r for n, r in found.items() if r.get("bench") == bench}


def all_fresh(item):
    """Whether nothing has changed since all its results were confirmed.

    A bench that no result names is never fresh.
    """
    if "record" not in getattr(item, "fixturenames", ()):
        return False
    named = named_by(item)
    sources = closure.fingerprint(item.path, ROOT) if named else ""
    fresh = [results.is_fresh(result, sources) for result in named.values()]
    return bool(fresh) and all(fresh)


@pytest.hookimpl(trylast=True)  # after -m, so that only what would run counts
def pytest_collection_modifyitems(config, items):
    left_out = []
    if config.option.results != "write" and not config.option.full:
        left_out = [item for item in items if all_fresh(item)]
    items[:] = [item for item in items if item not in left_out]
    config.stash[LEFT_OUT] = [item.nodeid for item in left_out]
    if left_out:
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session, exitstatus):
    """Report from a process of many; that nothing had to run is no fault."""
    left_out = session.config.stash.get(LEFT_OUT, [])
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = left_out
    if left_out and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Hear from a process of many; each has collected the same."""
    heard = getattr(node, "workeroutput", {}).get("left_out", [])
    node.config.stash[LEFT_OUT] = heard


def pytest_terminal_summary(terminalreporter, config):
    if left_out := config.stash.get(LEFT_OUT, []):
        terminalreporter.write_line(
            f"{len(left_out)} benches left out: nothing their results depend "
            "on has changed since these were confirmed (--full runs all)"
        )


class Recorder:
    """Takes the results of one bench and keeps to the mode of the run."""

    def __init__(self, item, mode):
        self.item, self.mode = item, mode
        self.bench = item.function.__name__
        self.chapter = chapter_of(item.path)
        self.recorded, self.differs = set(), False

    def __call__(self, name, *, columns, rows, labels=None, gpu=None, **about):
        """Record a table; `about` holds kind, title, prediction and so on.

        Exact and timing: `seed` (or None). Tolerance: `tolerance`, too,
        and `spread` for columns of rounding errors.
        Trained: `seeds`, and `spread` = {column: how far it may be off, or
        None where it is not compared}.
        """
        if about["kind"] == "trained":
            about["seeds"] = list(about["seeds"])
        else:
            about.setdefault("seed", None)
        result = {
            **about,
            "command": f"make bench name={self.chapter}",
            "columns": [
                {"name": n, "unit": u, "label": (labels or {}).get(n, n)}
                for n, u in columns.items()
            ],
            "rows": [list(row) for row in rows],
        }
        self.recorded.add(name)
        if self.mode == "write":
            made = results.provenance(torch.get_num_threads(), gpu)
            self.put(name, {**result, "run": made})
        else:
            self.compare(name, result)

    def put(self, name, result):
        """Write a result with the note that it came from these sources."""
        sources = closure.fingerprint(self.item.path, ROOT)
        noted = results.confirmed(result, self.bench, sources)
        results.write(self.chapter, name, noted, home())

    def compare(self, name, result):
        """Fail where the file says something else; else confirm it."""
        kept = results.load(f"{self.chapter}:{name}", home())
        found = results.differences(kept, result)
        self.differs = bool(found)
        assert not found, "\n".join([f"{self.chapter}:{name}", *found])
        if self.mode == "confirm":
            self.put(name, kept)

    def finish(self):
        """Fail if the file holds more by this bench than it recorded."""
        named = set(named_by(self.item))
        lost = sorted(named - self.recorded)
        if self.recorded and not self.differs:
            assert not lost, f"{self.bench} no longer records {lost}"


@pytest.fixture
def record(request):
    """Record a table under a name; the file is that of the chapter's bench."""
    recorder = Recorder(request.node, request.config.option.results)
    yield recorder
    recorder.finish()
