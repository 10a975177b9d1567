"""Every trained result has a claim, and a claim can fail."""

import ast
import json
from pathlib import Path

import pytest

from llmnotes._site import results
from tests import claims

TESTS = Path(__file__).resolve().parents[1]


def references(path):
    """The results that a file of claims looks up, constants followed."""
    tree = ast.parse(path.read_text("utf-8"))
    constants = {
        ast.unparse(target): getattr(node.value, "value", None)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name, first = getattr(node.func, "id", ""), node.args[0]
            if name == "claimed":
                yield getattr(first, "value", None) or constants[first.id]


def trained():
    for path in sorted(results.ROOT.glob("*/*.json")):
        data = json.loads(path.read_text("utf-8"))
        for name, result in data["results"].items():
            if result["kind"] == "trained":
                yield f"{data['chapter']}:{name}"


def test_every_trained_result_has_a_claim():
    files = TESTS.rglob("test_*claims.py")
    claimed = {name for path in files for name in references(path)}
    assert set(trained()) - claimed == set()


@pytest.fixture
def docs(tmp_path):
    """A page that says something about a result."""
    result = json.loads(
        (results.ROOT / "transformer/pretraining.json").read_text()
    )
    path = tmp_path / "results/transformer/pretraining.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(result))
    (tmp_path / "page.md").write_text(
        "Here **Muon\nwins**, again.\n\n"
        "```python\nclaimed('Muon loses')\n```\n"
    )
    return tmp_path


def test_a_claim_quotes_a_page_across_its_lines(docs):
    table = claims.claimed(
        "transformer/pretraining:ablation", "Muon wins", docs=docs
    )
    assert table("cost", without="the recipe") == 0


def test_a_sentence_that_no_page_says_any_more_is_named(docs):
    with pytest.raises(AssertionError, match="no page says 'Muon loses'"):
        claims.claimed(
            "transformer/pretraining:ablation",
            "Muon wins",
            "Muon loses",
            docs=docs,
        )


def test_a_cell_is_asked_for_by_conditions_that_pick_one_row():
    table = claims.Claim(
        {
            "columns": [{"name": "model"}, {"name": "loss"}],
            "rows": [["a", 1.0], ["b", 2.0], ["b", 3.0]],
        }
    )
    assert table("loss", model="a") == 1.0
    assert table.every("loss", model="b") == [2.0, 3.0]
    with pytest.raises(LookupError, match="2 rows where .*'b'"):
        table("loss", model="b")
    with pytest.raises(LookupError, match="0 rows where .*'c'"):
        table("loss", model="c")
    with pytest.raises(LookupError, match="no column .*'speed'"):
        table.every("loss", speed=1)
