"""Numba's CUDA simulator: one process for a whole run, and its outcomes.

The simulator must be switched on before Python starts. So a chapter's claims
about it stand in a file simulator.py, which is no test of the run itself; the
file beside it counts them, each as a test, with `claims` and `outcomes`.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
PATIENCE_S = 300  # of one chapter's file


def claims(file: Path) -> list[str]:
    """The names of the tests in a simulator's file."""
    return [
        node.name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


@pytest.fixture(scope="session")
def outcomes(request, tmp_path_factory):
    """What is wrong with a claim: {(file, claim): text, "" where it holds}.

    Whichever process of the run comes first simulates all files that the run
    has use for; the others wait and read.
    """
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        folder = folder.parent  # that of the run, not of this process
    files = {
        item.path.with_name("simulator.py")
        for item in request.session.items
        if "outcomes" in getattr(item, "fixturenames", ())
    }
    report = folder / "simulator.xml"
    with FileLock(f"{report}.lock"):
        if not report.exists():
            simulate(sorted(files), report, request.config)
    return read(report)


def simulate(files: list[Path], report: Path, config) -> None:
    """Run the files in one process whose kernels are Python threads."""
    sampled = [f"--sample-seed={config.option.sample_seed}"]
    full = ["--full"] if config.getoption("--full", False) else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        + [f"--junitxml={report}", *sampled, *full, *files],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * len(files),
    )
    assert report.exists(), done.stdout + done.stderr


def read(report: Path) -> dict[tuple[Path, str], str]:
    """The problems of each claim's cases, one after the other."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        module = case.get("classname").replace(".", "/")
        claim = ROOT / f"{module}.py", case.get("name").split("[")[0]
        problems = "".join(
            f"{case.get('name')}\n{problem.text}\n"
            for problem in case
            if problem.tag in ("failure", "error", "skipped")
        )
        found[claim] = found.get(claim, "") + problems
    return found
