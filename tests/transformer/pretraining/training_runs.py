"""The recipe as it is trained, and without one ingredient each."""

import functools

import torch

from llmnotes import train
from llmnotes.transformer.pretraining.muon import MuonAdamW
from llmnotes.transformer.pretraining.recipe import RecipeConfig
from llmnotes.transformer.training_step.fast import gelu_loop
from llmnotes.transformer.training_step.fused_recipe import (
    FusedRecipe,
    FusedRecipeBlock,
)
from tests.transformer.gpt.training_runs import MINI, config_of, shakespeare


class WithoutShift(FusedRecipeBlock):
    """No row takes from the row before."""

    def __init__(self, config):
        super().__init__(config)
        self.mix_1.requires_grad_(False)
        self.mix_2.requires_grad_(False)


class WithoutUnit(FusedRecipeBlock):
    """Queries and keys of any length."""

    unit = False


class WithGelu(FusedRecipeBlock):
    """The activation of GPT-2."""

    loop = staticmethod(gelu_loop)


def with_block(block):
    """The recipe with another block."""
    return type(block.__name__, (FusedRecipe,), {"block": block})


class WithoutTurn(FusedRecipe):
    """No position at all but the causal mask and the shift."""

    def turn(self, ids):
        return 0 * super().turn(ids)


class WithoutPairs(FusedRecipe):
    """The pair table starts at zero."""

    def initialise(self):
        super().initialise()
        torch.nn.init.zeros_(self.bigram.weight)


def adamw_only(model, config, scale=1.0):
    """AdamW for everything, in the place of Muon."""
    return train.adamw(model, config)


def muon(model, config, scale=1.0):
    """Muon at a rate of 0.02 for the blocks' matrices, AdamW for the rest."""
    rate = config.learning_rate
    return MuonAdamW(model, rate, ratio=0.02 * scale / rate)


# Each leaves one ingredient out: name -> (model, optimizer).
ABLATION = {
    "the recipe": (FusedRecipe, muon),
    "AdamW in place of Muon": (FusedRecipe, adamw_only),
    "no token shift": (with_block(WithoutShift), muon),
    "no RoPE": (WithoutTurn, muon),
    "no QK-norm": (with_block(WithoutUnit), muon),
    "GELU in place of ReLU²": (with_block(WithGelu), muon),
    "pair table from zero": (WithoutPairs, muon),
}


def recipe(setting, ids, name="the recipe", steps=None, seed=0, scale=1.0):
    """The recipe, or it without one ingredient; `scale` is of all rates.

    The shorter the run, the higher AdamW's rate; Muon's is always 0.02.
    """
    torch.manual_seed(seed)
    cls, optimizer = ABLATION[name]
    model = cls(RecipeConfig(n_positions=setting.block), ids)
    steps = steps or setting.steps
    rate = 3e-3 if steps >= 4000 else 5e-3 if steps >= 2000 else 8e-3
    config = config_of(
        setting, steps, seed, scale * rate, min_learning_rate=0.0,
        schedule="linear", clip=0.0,
    )  # fmt: skip
    return model, functools.partial(optimizer, scale=scale), config


STEPS = 300  # of the ablation
HELD_BACK = 0.05  # of the training text: what rates are chosen on


def held_back():
    """The training text without its end, and that end."""
    ids, _ = shakespeare()
    cut = int(len(ids) * (1 - HELD_BACK))
    return ids[:cut], ids[cut:]


def chosen(name, scale, seed):
    """Train a variant on most of the training text: the loss on the rest."""
    return [loss_of(name, scale, seed, *held_back())]


def ablated(name, scale, seed):
    """Train a variant on the training text: the loss on the validation's."""
    return [loss_of(name, scale, seed, *shakespeare())]


def loss_of(name, scale, seed, ids, other):
    """Train a variant of the recipe on one core; returns its loss."""
    return fitted(*recipe(MINI, ids, name, STEPS, seed, scale), ids, other)


def fitted(model, optimizer, config, ids, other):
    """Train a model on one core; returns its loss on all of another text."""
    train.fit(
        model,
        train.LanguageModelling(ids, other, config),
        config,
        optimizer=optimizer(model, config),
        progress=False,
    )
    return train.evaluate_all(model, other, config)
