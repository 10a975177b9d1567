"""Training a CLIP of captioned shapes: a minute and a half on one core.

recipe = what is learned from, by the names that `TASKS` knows; "exchanges"
         is the one that other chapters build on
Muon moves the matrices, AdamW embeddings, filters and vectors; the rate
rises for a short while and falls in a line to nothing.

Sources
- Radford et al. 2021, "Learning Transferable Visual Models From Natural
  Language Supervision", arXiv 2103.00020, §2.5.
- Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
  networks", kellerjordan.github.io/posts/muon.
"""

import torch

from llmnotes import train
from llmnotes.diffusion.clip.config import CLIPConfig
from llmnotes.diffusion.clip.looker import ShapesCLIP
from llmnotes.diffusion.clip.model import CLIP
from llmnotes.diffusion.clip.pairs import Exchanges, Pairs
from llmnotes.diffusion.clip.task import LAPTOP
from llmnotes.transformer.pretraining.muon import MuonAdamW

TASKS = {"pairs": Pairs, "exchanges": Exchanges}
STEPS, RATE = 850, 2e-3


def untrained(
    kind: type[CLIP] = ShapesCLIP, seed: int = 0, config: CLIPConfig = LAPTOP
) -> CLIP:
    """A CLIP that knows neither words nor pictures yet."""
    torch.manual_seed(seed)
    return kind(config)


def task(recipe: str = "exchanges", seed: int = 0, size: int = 64) -> Pairs:
    """What it learns from."""
    return TASKS[recipe](size=size, seed=seed)


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
