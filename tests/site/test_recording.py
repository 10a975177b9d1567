"""Benches: what is recorded, confirmed, left out, and never unnoticed."""

import ast
import json
from pathlib import Path

import pytest

from llmnotes._site import results
from tests import recording

ROOT = Path(__file__).resolve().parents[2]
BENCH = """
def never():
    import llmnotes.part.outer  # the closure sees it; nobody calls it

def test_that_nothing_records():
    pass

def bench_one(record):
    for name in {names}:
        record(name, kind="{kind}", title="T", prediction="P",
               columns={{"n": ""}}, rows=[[{value}]], {about})
"""


class Project:
    """A project of one bench, run by pytest in this process."""

    def __init__(self, pytester):
        self.pytester, self.root = pytester, pytester.path
        self.write("src/llmnotes/part/outer.py", "import llmnotes.part.inner")
        self.write("src/llmnotes/part/inner.py", "X = 1")
        self.bench()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", "utf-8")

    def bench(self, value=1, names=("one",), kind="exact", about=""):
        self.write(
            "tests/part/bench_slug.py",
            BENCH.format(value=value, names=names, kind=kind, about=about),
        )

    def run(self, *options):
        """Outcomes of the bench's file, and the last lines on the screen."""
        done = self.pytester.runpytest_inprocess(
            *("-p", "no:cacheprovider", "-p", "tests.recording"),
            *("-c", "/dev/null", "--rootdir", self.root),
            *("-o", "python_files=bench_*.py"),
            *("-o", "python_functions=bench_*"),
            *("--import-mode=importlib", "tests/part/bench_slug.py"),
            *options,
        )
        return done.parseoutcomes(), done

    def file(self):
        path = self.root / "docs/results/part/slug.json"
        return json.loads(path.read_text("utf-8"))["results"]


@pytest.fixture
def project(pytester, monkeypatch):
    """A project with its one result written."""
    monkeypatch.setattr(recording, "ROOT", pytester.path)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(results, "_commit", lambda: "abcdef0")
    monkeypatch.setattr(results, "_cpu", lambda: "Abacus 3000")
    made = Project(pytester)
    assert made.run("--results=write")[0]["passed"] == 1
    return made


def test_an_unchanged_bench_is_left_out_and_counted(project):
    outcomes, done = project.run()
    assert outcomes == {"deselected": 1}
    done.stdout.fnmatch_lines("*1 benches left out: nothing*--full*")
    assert done.ret == pytest.ExitCode.OK


def test_a_comment_triggers_nothing(project):
    bench = project.root / "tests/part/bench_slug.py"
    bench.write_text(bench.read_text() + "# only a comment\n")
    assert project.run()[0] == {"deselected": 1}


def test_changing_an_imported_module_triggers_it(project):
    project.write("src/llmnotes/part/inner.py", "X = 2")
    assert project.run()[0] == {"passed": 1}


def test_changing_the_bench_triggers_it_and_another_number_is_a_fault(project):
    project.bench(value=2)
    outcomes, done = project.run()
    assert outcomes["failed"] == 1
    done.stdout.fnmatch_lines(["*part/slug:one*", "*n: 1 became 2*"])


def test_a_number_changed_by_hand_is_computed_again(project):
    path = project.root / "docs/results/part/slug.json"
    path.write_text(path.read_text().replace("[1]", "[7]"))
    assert project.run()[0]["failed"] == 1


@pytest.mark.parametrize("option", ["--full", "--results=write"])
def test_full_and_write_leave_nothing_out(project, option):
    assert project.run(option)[0] == {"passed": 1}


def test_a_bench_that_no_result_names_runs(project):
    project.bench(names=("two",))
    assert project.run()[0]["failed"] == 1  # there is no such result
    path = project.root / "docs/results/part/slug.json"
    path.unlink()
    assert project.run()[0]["failed"] == 1


def test_one_stale_result_of_two_is_enough(project):
    project.bench(names=("one", "two"))
    project.run("--results=write")
    assert project.run()[0] == {"deselected": 1}
    path = project.root / "docs/results/part/slug.json"
    data = json.loads(path.read_text())
    del data["results"]["two"]["confirmed"]
    path.write_text(json.dumps(data))
    assert project.run()[0] == {"passed": 1}


def test_confirming_changes_the_note_and_nothing_else(project):
    before = project.file()["one"]
    project.write("src/llmnotes/part/inner.py", "X = 2")
    assert project.run("--results=confirm")[0] == {"passed": 1}
    after = project.file()["one"]
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {"confirmed"}
    assert project.run()[0] == {"deselected": 1}


def test_what_differs_is_not_confirmed(project):
    before = project.file()
    project.bench(value=2)
    assert project.run("--results=confirm")[0]["failed"] == 1
    assert project.file() == before


def test_a_result_that_is_no_longer_recorded_is_named(project):
    project.bench(names=("one", "two"))
    project.run("--results=write")
    project.bench(names=("one",))
    outcomes, done = project.run()
    assert outcomes["errors"] == 1
    done.stdout.fnmatch_lines("*bench_one no longer records ?'two'?*")


def test_processes_report_what_they_left_out():
    node = type("Node", (), {"workeroutput": {"left_out": ["x"]}})()
    node.config = type("Config", (), {"stash": {}})()
    recording.pytest_testnodedown(node)
    assert node.config.stash[recording.LEFT_OUT] == ["x"]


def test_training_is_compared_within_its_spread(project):
    about = "seeds=range(3), spread={'n': 0.5}, example='one'"
    project.bench(value=1, kind="trained", about=about)
    project.run("--results=write")
    assert project.file()["one"]["seeds"] == [0, 1, 2]
    project.bench(value=1.4, kind="trained", about=about)
    assert project.run()[0] == {"passed": 1}
    project.bench(value=1.6, kind="trained", about=about)
    assert project.run()[0]["failed"] == 1


@pytest.mark.parametrize("place", ["bench_slug.py", "slug/bench_slug.py"])
def test_the_chapter_of_a_bench_is_its_part_and_slug(place):
    path = recording.ROOT / "tests/part" / place
    assert recording.chapter_of(path) == "part/slug"


def functions_of(bench):
    body = ast.parse(bench.read_text("utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


def test_every_committed_result_names_the_bench_that_recorded_it():
    benches = {
        recording.chapter_of(path): functions_of(path)
        for path in ROOT.glob("tests/*/**/bench_*.py")
    }
    for path in results.ROOT.glob("*/*.json"):
        data = json.loads(path.read_text("utf-8"))
        for name, result in data["results"].items():
            assert result["bench"] in benches[data["chapter"]], name
