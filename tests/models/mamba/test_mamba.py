"""That the experiments compare what they say."""

import pytest
import torch

from tests.models.mamba.pairs import RULES, TWICE, fresh, overwritten, texts
from tests.models.mamba.training_runs import CONTESTANTS, TASKS, built, found


def test_contestants_are_of_like_size():
    sizes = {
        name: sum(p.numel() for p in built(name, 0).parameters())
        for name in CONTESTANTS
    }
    assert sizes["Mamba"] == pytest.approx(20_000, rel=0.1)
    assert 0.7 * sizes["Mamba"] < sizes["without selection"] < sizes["Mamba"]


@pytest.mark.parametrize("task", TASKS)
def test_a_run_is_scored_at_every_length(task, monkeypatch):
    monkeypatch.setitem(TASKS, task, (TASKS[task][0], 2, (8, 9)))
    scores = found(task, "Mamba", 1e-3, 0)
    assert len(scores) == 3
    assert all(0 <= score <= 1 for score in scores)


def test_pairs_that_come_again_have_their_key_and_a_value_of_their_own():
    key, value, said, codes = texts(TWICE, TWICE)
    assert torch.equal(key[:, :TWICE], key[:, TWICE:])
    assert (said[:, :TWICE] != said[:, TWICE:]).double().mean() > 0.9
    assert torch.equal(value, codes[said])


def test_attention_keeps_what_is_fresh_and_mixes_what_is_written_twice():
    assert fresh(RULES["attention"], 64) == 1
    assert overwritten(RULES["attention"]) < 0.7


def test_the_delta_rule_loses_the_first_and_wins_the_second():
    linear, delta = (
        RULES["linear attention"],
        RULES["delta rule at full strength"],
    )
    assert fresh(delta, 128) < fresh(linear, 128) - 0.3
    assert overwritten(delta) > overwritten(linear) + 0.3
