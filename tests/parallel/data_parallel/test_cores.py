"""Several processes train like one."""

import copy
import dataclasses
import time

import pytest
import torch

from llmnotes import train
from llmnotes.parallel.data_parallel.cores import Cores
from llmnotes.transformer.pretraining.muon import MuonAdamW
from llmnotes.transformer.pretraining.recipe import RecipeConfig
from llmnotes.transformer.training_step.fused_recipe import FusedRecipe

SHAPE = RecipeConfig(13, 11, n_embd=12, n_layer=2, n_head=3, n_inner=20)


def muon(model, config):
    return MuonAdamW(model, config.learning_rate)


def setup(clip):
    torch.manual_seed(0)
    ids = torch.arange(3000) * 5 % 13
    config = train.TrainConfig(
        steps=4, batch_size=7, block=9, warmup=1, clip=clip
    )
    return FusedRecipe(SHAPE, ids), config, ids


def one_process(model, optimizer, config, ids):
    config = dataclasses.replace(config, eval_every=1)
    history = train.fit(
        model,
        train.LanguageModelling(ids, ids, config),
        config,
        optimizer=optimizer(model, config),
        progress=False,
    )
    return torch.tensor([row.loss for row in history])


@pytest.mark.parametrize(
    "optimizer, clip, count",
    [(train.adamw, 0.05, 3), (muon, 0.0, 2)],
)
def test_several_cores_move_every_parameter_as_one_does(
    optimizer, clip, count, processes
):
    model, config, ids = setup(clip)
    whole = copy.deepcopy(model)
    wanted = one_process(whole, optimizer, config, ids)
    with Cores(model, optimizer, config, ids, count, processes) as cores:
        losses = [cores.step(number) for number in range(config.steps)]
    torch.testing.assert_close(torch.tensor(losses), wanted)
    for name, p in whole.named_parameters():
        ours = model.get_parameter(name)
        torch.testing.assert_close(ours, p, rtol=1e-3, atol=1e-5, msg=name)
        assert not torch.equal(p, setup(clip)[0].get_parameter(name)), name


def dawdle(*_):
    time.sleep(0.1)


def late_elsewhere(model, config):
    """AdamW; in the other processes it moves late and the model runs late."""
    optimizer = train.adamw(model, config)
    if torch.multiprocessing.parent_process():
        model.register_forward_pre_hook(dawdle)
        optimizer.register_step_pre_hook(dawdle)
    return optimizer


def test_nobody_adds_up_or_goes_on_before_the_slowest_is_done(processes):
    model, config, ids = setup(0.0)
    whole = copy.deepcopy(model)
    one_process(whole, train.adamw, config, ids)
    with Cores(model, late_elsewhere, config, ids, 2, processes) as cores:
        for number in range(config.steps):
            cores.step(number)
        ours = [p.clone() for p in model.parameters()]
    torch.testing.assert_close(
        ours, list(whole.parameters()), rtol=1e-3, atol=1e-5
    )


def test_every_parameter_has_one_owner_and_all_cores_own_some():
    model, config, ids = setup(1.0)
    owner = Cores(model, train.adamw, config, ids, 3).worker.owner
    assert set(owner) == {0, 1, 2} and owner == sorted(owner)


@pytest.mark.parametrize("count", [0, 8])
def test_an_impossible_number_of_cores_is_refused(count):
    model, config, ids = setup(1.0)
    with pytest.raises(ValueError, match=f"count: got {count}, expected 1 to"):
        Cores(model, train.adamw, config, ids, count)


def fails_elsewhere(model, config):
    if torch.multiprocessing.parent_process():
        raise ZeroDivisionError
    return train.adamw(model, config)


def test_a_process_that_dies_ends_the_training(processes):
    model, config, ids = setup(1.0)
    with pytest.raises(RuntimeError, match="a core died"):
        with Cores(model, fails_elsewhere, config, ids, 2, processes) as cores:
            cores.step(0)
