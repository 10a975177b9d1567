"""Layers on stages: all of them, none twice."""

import pytest
import torch

from llmnotes.parallel.pipeline import cut, share_out
from tests.parallel.pipeline import tiny


def test_thirty_layers_on_four_stages():
    assert share_out(30, 4) == [8, 8, 7, 7]
    assert 30 // 4 * 4 == 28  # what is lost without a word


@pytest.mark.parametrize("layers", range(1, 20))
def test_no_layer_is_lost_and_stages_differ_by_one_at_most(layers):
    for stages in range(1, layers + 1):
        shares = share_out(layers, stages)
        assert len(shares) == stages and sum(shares) == layers
        assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("stages", [0, 4, -1])
def test_a_stage_without_a_layer_is_refused(stages):
    message = f"stages: got {stages}, expected 1 to 3, as there are 3 layers"
    with pytest.raises(ValueError, match=message):
        share_out(3, stages)


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
def test_one_after_the_other_the_stages_are_the_model(stages):
    model, [ids] = tiny.gpt(5), tiny.batches(1)[0]
    x = ids
    parts = cut(model, stages)
    for part in parts:
        x = part(x)
    torch.testing.assert_close(x, model(ids), rtol=0, atol=0)
    held = [id(p) for part in parts for p in part.parameters()]
    assert set(held) == {id(p) for p in model.parameters()}
    tied = stages > 1  # the first and the last both have it
    assert len(held) == len(set(held)) + tied


def test_a_model_with_too_few_layers_runs_as_if_nothing_were_missing():
    model, [ids] = tiny.gpt(5), tiny.batches(1)[0]
    parts = cut(model, 2)
    del parts[1][1]  # 5 // 2 layers for each
    out = parts[1](parts[0](ids))
    assert out.shape == model(ids).shape
    assert not torch.allclose(out, model(ids), atol=0.01)
