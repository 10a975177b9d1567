"""Training a CLIP of captioned shapes: a minute and a half on one core.

recipe = what is learned from, by the names that `TASKS` knows; "contrasts"
         is the one that other chapters build on
Muon moves the matrices of the text tower, AdamW the rest; the rate rises for
a short while and falls in a line to nothing.

Sources
- Radford et al. 2021, "Learning Transferable Visual Models From Natural
  Language Supervision", arXiv 2103.00020, §2.5.
- Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training", arXiv
  2303.15343, §3.2 (the start of scale and bias).
- Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
  networks", kellerjordan.github.io/posts/muon.
"""

import math
from dataclasses import replace

import torch

from llmnotes import train
from llmnotes.diffusion.clip.config import CLIPConfig
from llmnotes.diffusion.clip.looker import ShapesCLIP
from llmnotes.diffusion.clip.losses import sigmoid_loss
from llmnotes.diffusion.clip.model import CLIP, SigmoidCLIP
from llmnotes.diffusion.clip.pairs import (
    Contrasts,
    Pairs,
    Parts,
    PartsAndContrasts,
    Singles,
)
from llmnotes.diffusion.clip.task import LAPTOP
from llmnotes.transformer.pretraining.muon import MuonAdamW

TASKS = {
    "pairs": Pairs, "contrasts": Contrasts, "parts": Parts,
    "both": PartsAndContrasts,
    "singles": Singles,
}  # fmt: skip
STEPS, RATE = 900, 2e-3
SIGMOID = replace(LAPTOP, logit_scale_init_value=math.log(10))


class ShapesSigmoidCLIP(SigmoidCLIP, ShapesCLIP):
    """The same towers for the sigmoid loss."""


def untrained(
    kind: type[CLIP] = ShapesCLIP, seed: int = 0, config: CLIPConfig = LAPTOP
) -> CLIP:
    """A CLIP that knows neither words nor pictures yet."""
    torch.manual_seed(seed)
    return kind(config)


def task(model: CLIP, recipe: str = "contrasts", seed: int = 0) -> Pairs:
    """What it learns from, with the loss that the model is made for."""
    if isinstance(model, SigmoidCLIP):
        return TASKS[recipe](seed=seed, objective=sigmoid_loss)
    return TASKS[recipe](seed=seed)


def config(steps=STEPS, rate=RATE, seed=0, every=None) -> train.TrainConfig:
    """A short rise and a long fall."""
    return train.TrainConfig(
        steps=steps,
        batch_size=1,  # the task makes its own batches
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=min(30, steps // 10),
        weight_decay=0.0,
        clip=0.0,
        eval_every=every or steps,
        seed=seed,
    )


def learn(
    model: CLIP, learned: Pairs, config: train.TrainConfig, **options
) -> train.History:
    """Train in place. `options` are those of `fit`."""
    optimizer = MuonAdamW(model, lr=config.learning_rate)
    return train.fit(model, learned, config, optimizer=optimizer, **options)
