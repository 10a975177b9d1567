"""The second step of each contestant, while something watches it."""

import functools

import torch

from llmnotes import train
from llmnotes.transformer.training_step import FusedGPT
from tests.transformer.gpt.training_runs import MINI, shakespeare
from tests.transformer.pretraining.plain_torch_gpt import PlainGPT, adamw

SEED = 0
CONTESTANTS = {"plain PyTorch": PlainGPT, "our GPT, fused": FusedGPT}


def watched(watch):
    """Yield name, what `watch()` saw of the step, and the loss after it."""
    ids, _ = shakespeare()
    config = train.TrainConfig(batch_size=16, block=32)
    task = train.LanguageModelling(ids, ids, config)
    batch = task.batch(0)
    for name, cls in CONTESTANTS.items():
        torch.manual_seed(SEED)
        model = cls(MINI.shape)
        optimizer = adamw(model, config)
        step = functools.partial(train.update, model, optimizer, task, batch)
        step(config, 0)  # makes the optimizer's state
        with watch() as seen:
            step(config, 1)
        yield name, seen, task.loss(model, batch)
