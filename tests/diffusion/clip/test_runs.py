"""Training for a few steps."""

import pytest
import torch

from llmnotes.diffusion.clip import runs
from llmnotes.diffusion.clip.losses import MOST


def test_seeds_make_equal_models_and_other_seeds_others():
    one, same, other = (runs.untrained(seed=seed) for seed in (0, 0, 1))
    weights = [m.text_projection.weight for m in (one, same, other)]
    assert torch.equal(*weights[:2])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("recipe", runs.TASKS)
def test_a_step_moves_every_weight(recipe):
    model = runs.untrained()
    before = {n: p.clone() for n, p in model.named_parameters()}
    learned = runs.task(recipe, size=8)
    runs.learn(model, learned, runs.config(steps=2), progress=False)
    for name, p in model.named_parameters():
        if "k_proj.bias" not in name:  # adds the same to all scores
            assert not torch.equal(p, before[name]), name


def test_a_scale_is_held_before_the_loss():
    model = runs.untrained()
    model.logit_scale.data.fill_(9.0)
    learned = runs.task()
    learned.loss(model, learned.judged)
    assert model.logit_scale.item() == pytest.approx(MOST)
