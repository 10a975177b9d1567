"""Training a denoiser of digits: minutes on one core.

target, schedule, error = by the names that `TARGETS`, `SCHEDULES` and
    `ERRORS` know; T is 1,000
drop = share of pictures whose class is hidden

Sources
- Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv
  2006.11239, appendix B (Adam, average of the weights).
"""

import torch
import torch.nn.functional as F

from llmnotes import train
from llmnotes.diffusion.ddpm.ema import EMA
from llmnotes.diffusion.ddpm.model import Denoiser
from llmnotes.diffusion.ddpm.network import MLPConfig, ResidualMLP
from llmnotes.diffusion.ddpm.schedule import (
    Schedule,
    cosine,
    linear,
    scaled_linear,
)
from llmnotes.diffusion.ddpm.targets import Data, Noise, Velocity
from llmnotes.diffusion.ddpm.task import Denoising, digits

TARGETS = {"noise": Noise, "velocity": Velocity, "data": Data}
SCHEDULES = {
    "cosine": cosine, "linear": linear, "scaled_linear": scaled_linear
}  # fmt: skip
ERRORS = {"l2": F.mse_loss, "l1": F.l1_loss}
SMALL = MLPConfig(width=192, depth=2)
STEPS, RATE, DECAY = 3000, 1e-2, 0.99


def untrained(
    target: str = "velocity", schedule: str = "cosine", seed: int = 0,
    config: MLPConfig = SMALL, decay: float = DECAY,
) -> Denoiser:  # fmt: skip
    """A denoiser that knows nothing yet; its network keeps an average."""
    torch.manual_seed(seed)
    network = EMA(ResidualMLP(config), decay)
    return Denoiser(
        network, Schedule(SCHEDULES[schedule]()), TARGETS[target]()
    )


def task(denoiser: Denoiser, error="l2", seed=0, drop=0.0, size=128):
    """What it learns: all of `digits` that may be learned from."""
    steps = denoiser.schedule.steps
    return Denoising(
        *digits(), steps=steps, size=size, seed=seed, drop=drop,
        error=ERRORS[error],
    )  # fmt: skip


def config(steps=STEPS, rate=RATE, seed=0, every=None):
    """The rate rises for a tenth and falls in a line to nothing."""
    return train.TrainConfig(
        steps=steps,
        batch_size=1,  # the task makes its own batches
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=min(100, steps // 10),
        betas=(0.9, 0.99),
        weight_decay=0.0,
        eval_every=every or steps,
        seed=seed,
    )


def learn(
    denoiser: Denoiser, learned: Denoising, config: train.TrainConfig,
    **options,
) -> train.History:  # fmt: skip
    """Train in place; the average follows. `options` are those of `fit`."""
    optimizer = train.adamw(denoiser, config)
    denoiser.network.follow(optimizer)
    return train.fit(denoiser, learned, config, optimizer=optimizer, **options)
