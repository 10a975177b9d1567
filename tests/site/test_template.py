"""`make chapter` lays homes that parse, and says all that is left to do."""

import ast
import re
import shutil

import pytest

from llmnotes._site import mirror, template
from tests.site.conftest import ROOT

BOOK = """\
nav: [sequence/rnn.md]
extra:
  book:
    sequence: {rnn: RNN, lstm: LSTM, gru: GRU}
    models: {llama: Llama}
    kernels: {gemm: GEMM, softmax: Softmax}
"""


@pytest.fixture
def root(tmp_path):
    """A book whose first chapter is written; the rest is coming."""
    shutil.copytree(ROOT / "docs/includes", tmp_path / "docs/includes")
    for path, text in (
        ("mkdocs.yml", BOOK),
        ("docs/sequence/rnn.md", "# RNN\n"),
        ("docs/sequence/index.md", "# Sequence\n"),
        ("src/llmnotes/__init__.py", ""),
        ("src/llmnotes/sequence/__init__.py", ""),
        ("src/llmnotes/sequence/rnn.py", ""),
        ("tests/sequence/test_rnn.py", ""),
    ):
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    assert mirror.faults(tmp_path) == []
    return tmp_path


def laid(root, name, **options):
    paths = template.lay(name, root, **options)
    return {p.relative_to(root).as_posix() for p in paths}


def test_a_single_idea_is_a_file(root):
    assert laid(root, "sequence/gru") == {
        "docs/sequence/gru.md",
        "src/llmnotes/sequence/gru.py",
        "tests/sequence/test_gru.py",
        "tests/sequence/bench_gru.py",
    }


def test_more_than_one_module_is_a_folder(root):
    assert laid(root, "models/llama", folder=True) == {
        "docs/models/index.md",
        "docs/models/llama.md",
        "src/llmnotes/models/__init__.py",
        "src/llmnotes/models/llama/__init__.py",
        "src/llmnotes/models/llama/model.py",
        "tests/models/llama/test_model.py",
        "tests/models/llama/bench_llama.py",
    }


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_laid_parses_and_the_page_finds_its_symbols(root, folder):
    paths = template.lay("sequence/gru", root, folder)
    for path in paths:
        if path.suffix == ".py":
            ast.parse(path.read_text())
    page = (root / "docs/sequence/gru.md").read_text()
    assert page.startswith("---\n") and "\n# GRU\n" in page
    shown = re.findall(r'--8<-- "([\w.]+):(\w+)"', page)
    fenced = re.search(r"```claims\n([\w.]+)\n(\w+)\nothers\n```", page)
    shown.append(fenced.groups())
    assert len(shown) == 2
    for module, symbol in shown:
        file = root / f"{module.replace('.', '/')}.py"
        if module.startswith("llmnotes"):
            file = root / "src" / file.relative_to(root)
        assert f"def {symbol}(" in file.read_text()


def test_after_all_that_is_left_has_been_done_the_trees_mirror(root):
    template.lay("sequence/lstm", root, folder=True)
    assert any("nav has the chapters" in f for f in mirror.faults(root))
    said = template.left("sequence/lstm", root, folder=True)
    line = re.search(r"- (\S+\.md)\n +below (\S+)\n", said)
    config = root / "mkdocs.yml"
    after = f"{line[2]}, {line[1]}]"
    config.write_text(config.read_text().replace(f"{line[2]}]", after))
    assert mirror.faults(root) == ["sequence/lstm: no results"]
    assert "make bench name=sequence/lstm" in said
    results = root / "docs/results/sequence/lstm.json"
    results.parent.mkdir(parents=True)
    results.write_text("{}")
    page = results.with_suffix(".md")
    page.write_text("```results\nfile: sequence/lstm\n```\n")
    assert mirror.faults(root) == []


@pytest.mark.parametrize(
    "name, place",
    [
        ("sequence/lstm", "below sequence/rnn.md"),
        ("sequence/gru", "below sequence/rnn.md"),
        (
            "models/llama",
            "in a new section `Models:`, after models/index.md, below that of",
        ),
        (
            "kernels/gemm",
            "in a new section `Kernels:`, after kernels/index.md, below that",
        ),
    ],
)
def test_the_place_in_the_nav_is_that_of_the_book(root, name, place):
    assert f"      - {name}.md\n    {place}" in template.left(name, root)


def test_the_first_of_a_part_goes_above_the_next(root):
    config = root / "mkdocs.yml"
    config.write_text(config.read_text().replace("{rnn:", "{mlp: MLP, rnn:"))
    assert "above sequence/rnn.md" in template.left("sequence/mlp", root)


def test_everything_left_to_do_is_named(root):
    said = template.left("kernels/softmax", root)
    for home in (
        "tests/kernels/test_softmax.py",
        "tests/kernels/bench_softmax.py",
        "src/llmnotes/kernels/softmax.py",
        "docs/kernels/softmax.md",
        "docs/notation.md",
        "docs/contributing.md",
        "docs/includes/glossary.md",
        "- Chapter *Softmax*: `llmnotes.kernels.softmax`.",
        "make bench name=kernels/softmax",
        "make check",
    ):
        assert home in said
    named = re.findall(r"docs/(?:notation|contributing|includes)\S*md", said)
    assert all((ROOT / path).exists() for path in named)


def test_nothing_is_overwritten(root):
    mine = root / "tests/sequence/test_gru.py"
    mine.write_text("mine")
    assert "tests/sequence/test_gru.py" not in laid(root, "sequence/gru")
    assert mine.read_text() == "mine"


def test_of_code_that_stands_before_its_page_the_rest_is_laid(root):
    for path in (
        "src/llmnotes/kernels/gemm/tiles.py",
        "tests/kernels/gemm/test_tiles.py",
    ):
        (root / path).parent.mkdir(parents=True)
        (root / path).touch()
    assert laid(root, "kernels/gemm", folder=True) == {
        "docs/kernels/index.md",
        "docs/kernels/gemm.md",
        "tests/kernels/gemm/bench_gemm.py",
    }


def test_a_chapter_that_has_its_page_is_refused(root):
    with pytest.raises(FileExistsError, match="docs/sequence/rnn.md"):
        template.lay("sequence/rnn", root)
    assert not (root / "tests/sequence/bench_rnn.py").exists()


@pytest.mark.parametrize(
    "name, near",
    [
        ("", ""),
        ("rnn", "Near: sequence/rnn."),
        ("a/b/c", ""),
        ("Sequence/RNN", "sequence/rnn"),
        ("../x/y", ""),
        ("kernels/sofmax", "Near: kernels/softmax"),
        ("sequence/llama", "Near: models/llama"),
    ],
)
def test_a_name_that_the_book_does_not_list_is_refused(root, name, near):
    with pytest.raises(ValueError, match="^name: got") as error:
        template.lay(name, root)
    assert near in str(error.value) and "extra.book" in str(error.value)
    assert ("Near" in str(error.value)) == bool(near)


def test_the_command_says_what_is_laid_and_left(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    template.main("models/llama", "1")
    said = capsys.readouterr().out
    assert said.startswith("docs/models/llama.md\n")
    assert "\nLeft to do" in said
    with pytest.raises(SystemExit, match="^make chapter: .*is there already"):
        template.main("models/llama", "")
    with pytest.raises(SystemExit, match="^make chapter: name: got ''"):
        template.main()
