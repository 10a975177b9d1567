"""What the GPT experiments train, and how: settings and a plain run."""

import time
from dataclasses import dataclass

import torch

from llmnotes import data, train
from llmnotes.parallel.data_parallel.cores import Cores
from llmnotes.transformer.gpt import MINIGPT, NANOGPT_CPU, GPTConfig
from llmnotes.transformer.training_step import FusedGPT


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


def plain(setting, steps=None, seed=0):
    """GPT-2's architecture under AdamW with a cosine."""
    torch.manual_seed(seed)
    model = FusedGPT(setting.shape)
    config = config_of(
        setting, steps, seed, 2e-3, min_learning_rate=2e-4, clip=1.0
    )
    return model, train.adamw, config


def config_of(setting, steps, seed, learning_rate, **options):
    """A TrainConfig for a setting."""
    return train.TrainConfig(
        steps=steps or setting.steps,
        batch_size=setting.batch_size,
        block=setting.block,
        learning_rate=learning_rate,
        warmup=min(50, (steps or setting.steps) // 20),
        betas=(0.9, 0.98),
        seed=seed,
        **options,
    )


def trained(model, optimizer, config, ids):
    """Train on two cores; returns the seconds, start not counted."""
    with Cores(model, optimizer, config, ids) as cores:
        cores.step(0)
        start = time.perf_counter()
        for number in range(1, config.steps):
            cores.step(number)
        return time.perf_counter() - start
