"""`make chapter` lays homes that parse, and never overwrites."""

import ast

import pytest

from llmnotes._site import template


def test_every_home_is_laid_and_every_python_file_parses(tmp_path):
    laid = template.lay("sequence/rnn", tmp_path)
    names = {p.relative_to(tmp_path).as_posix() for p in laid}
    assert names == {
        "docs/sequence/rnn.md",
        "src/llmnotes/sequence/rnn/model.py",
        "src/llmnotes/sequence/__init__.py",
        "tests/sequence/rnn/test_model.py",
        "tests/sequence/rnn/bench_rnn.py",
    }
    for path in laid:
        if path.suffix == ".py":
            ast.parse(path.read_text())


def test_nothing_is_overwritten(tmp_path):
    mine = tmp_path / "tests/sequence/rnn/test_model.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(FileExistsError, match="test_rnn.py"):
        template.lay("sequence/rnn", tmp_path)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "docs").exists()


@pytest.mark.parametrize(
    "name", ["", "rnn", "a/b/c", "Sequence/RNN", "../x/y"]
)
def test_a_name_that_is_no_part_and_slug_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="^name: got"):
        template.lay(name, tmp_path)
