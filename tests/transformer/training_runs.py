"""What the GPT experiments train, and how: settings, recipes, a loop."""

import time
from dataclasses import dataclass

import torch

from llmnotes import data, train
from llmnotes.transformer.fused import FusedGPT, gelu
from llmnotes.transformer.gpt import MINIGPT, NANOGPT_CPU, GPTConfig
from llmnotes.transformer.recipe import (
    MuonAdamW,
    Recipe,
    RecipeBlock,
    RecipeConfig,
)


@dataclass(frozen=True)
class Setting:
    """How much may be read: batch, block and steps."""

    name: str
    shape: GPTConfig
    batch_size: int
    block: int
    steps: int


MINI = Setting("miniGPT", MINIGPT, batch_size=16, block=32, steps=4000)
NANO = Setting("nanoGPT on a CPU", NANOGPT_CPU, 12, 64, steps=2000)


def shakespeare():
    """Training and validation ids of tiny Shakespeare."""
    text = data.text("tiny_shakespeare")
    return data.split(data.CharVocabulary(text).encode(text))


class WithoutShift(RecipeBlock):
    """No row takes from the row before."""

    def __init__(self, config):
        super().__init__(config)
        self.mix_1.requires_grad_(False)
        self.mix_2.requires_grad_(False)


class WithoutUnit(RecipeBlock):
    """Queries and keys of any length."""

    unit = False


class WithGelu(RecipeBlock):
    """The activation of GPT-2."""

    bend = staticmethod(gelu)


def with_block(block):
    """The recipe with another block."""
    return type(block.__name__, (Recipe,), {"block": block})


class WithoutTurn(Recipe):
    """No position at all but the causal mask and the shift."""

    def turn(self, length):
        return None


class WithoutPairs(Recipe):
    """The pair table starts at zero."""

    def initialise(self):
        super().initialise()
        torch.nn.init.zeros_(self.bigram.weight)


def adamw_only(model, config):
    """AdamW for everything, in the place of Muon."""
    return train.adamw(model, config)


def muon(model, config):
    """Muon for the matrices of the blocks."""
    return MuonAdamW(model, config.learning_rate)


# Each leaves one ingredient out: name -> (model, optimizer).
ABLATION = {
    "the recipe": (Recipe, muon),
    "AdamW in place of Muon": (Recipe, adamw_only),
    "no token shift": (with_block(WithoutShift), muon),
    "no RoPE": (WithoutTurn, muon),
    "no QK-norm": (with_block(WithoutUnit), muon),
    "GELU in place of ReLU²": (with_block(WithGelu), muon),
    "pair table from zero": (WithoutPairs, muon),
}


def plain(setting, steps=None, seed=0):
    """GPT-2's architecture under AdamW with a cosine."""
    torch.manual_seed(seed)
    model = FusedGPT(setting.shape)
    config = config_of(
        setting, steps, seed, 2e-3, min_learning_rate=2e-4, clip=1.0
    )
    return model, train.adamw(model, config), config


def recipe(setting, ids, name="the recipe", steps=None, seed=0):
    """The recipe, or it without one ingredient."""
    torch.manual_seed(seed)
    cls, optimizer = ABLATION[name]
    model = cls(RecipeConfig(n_positions=setting.block), ids)
    config = config_of(
        setting, steps, seed, 3e-3, min_learning_rate=0.0,
        schedule="linear", clip=0.0,
    )  # fmt: skip
    return model, optimizer(model, config), config


def config_of(setting, steps, seed, learning_rate, **options):
    """A TrainConfig for a setting."""
    return train.TrainConfig(
        steps=steps or setting.steps,
        batch_size=setting.batch_size,
        block=setting.block,
        learning_rate=learning_rate,
        warmup=50,
        betas=(0.9, 0.98),
        seed=seed,
        **options,
    )


def trained(model, optimizer, config, ids):
    """Train, and return the seconds it took, evaluation not counted."""
    start = time.perf_counter()
    for step in range(config.steps):
        inputs, targets = train.batch(ids, config, step)
        train.update(model, optimizer, inputs, targets, config, step)
    return time.perf_counter() - start
