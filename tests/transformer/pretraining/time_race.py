"""Plain PyTorch and the recipe for the same time: one run of one of them.

How many steps fit into the time was measured once, by `bench_pretraining`'s
`seconds`; a run then takes that many, on one core, whatever the machine.
"""

from dataclasses import dataclass

import torch

from llmnotes import train
from llmnotes.parallel.data_parallel.cores import Cores
from tests.transformer.gpt.training_runs import MINI, config_of, shakespeare
from tests.transformer.pretraining.plain_torch_gpt import (
    PlainGPT,
    TwoThreads,
    adamw,
)
from tests.transformer.pretraining.training_runs import HELD_BACK, recipe

SECONDS = 20  # on two cores of the machine that the steps were timed on


@dataclass(frozen=True)
class Plain:
    """GPT-2's architecture in plain PyTorch; `low` = last rate of first."""

    steps: int
    rate: float
    low: float
    optimizer: object = train.adamw
    trainer: type = TwoThreads

    def build(self, ids, scale, seed):
        torch.manual_seed(seed)
        rate = scale * self.rate
        config = config_of(
            *(MINI, self.steps, seed, rate),
            min_learning_rate=self.low * rate,
            schedule="linear",
            clip=1.0,
        )
        return PlainGPT(MINI.shape), self.optimizer, config


@dataclass(frozen=True)
class Recipe:
    """The recipe, with the optimizer that its ablation names."""

    steps: int
    rate: float
    name: str
    trainer: type = Cores

    def build(self, ids, scale, seed):
        return recipe(MINI, ids, self.name, self.steps, seed, scale)


CONTESTANTS = {
    "plain PyTorch at a constant rate": Plain(500, 2e-3, 1.0, adamw),
    "plain PyTorch with a schedule": Plain(500, 4e-3, 0.0),
    "the recipe with AdamW": Recipe(340, 8e-3, "AdamW in place of Muon"),
    "the recipe": Recipe(300, 8e-3, "the recipe"),
}
STARTS = {
    name: "normal, 0.02" if "PyTorch" in name else "the recipe's"
    for name in CONTESTANTS
}


def chosen(name, scale, seed):
    """Train on most of the training text: the loss on the rest."""
    ids, _ = shakespeare()
    cut = int(len(ids) * (1 - HELD_BACK))
    return [loss_of(name, scale, seed, ids[:cut], ids[cut:])]


def reached(name, scale, seed):
    """Train on the training text: the loss on the validation text."""
    return [loss_of(name, scale, seed, *shakespeare())]


def loss_of(name, scale, seed, ids, other):
    """Train a contestant on one core; returns its loss on other text."""
    model, optimizer, config = CONTESTANTS[name].build(ids, scale, seed)
    train.fit(
        model,
        train.LanguageModelling(ids, other, config),
        config,
        optimizer=optimizer(model, config),
        progress=False,
    )
    return train.evaluate_all(model, other, config)
