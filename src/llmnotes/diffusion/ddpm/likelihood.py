"""Learning digits for their likelihood: the bound itself is the loss.

guess = by the names that `GUESSES` knows: what x̂_0 is made from
gamma = a line while the network learns; `calm` then learns another

Sources
- Kingma, Salimans, Poole & Ho 2021, "Variational Diffusion Models", arXiv
  2107.00630 (§4: Fourier features; §5.2: γ that lowers the variance).
"""

import math

import torch
from torch import Tensor, nn

from llmnotes import train
from llmnotes.diffusion.ddpm.continuous import (
    Fourier,
    LevelsGuess,
    VelocityGuess,
    diffusion,
    grey_levels,
    normal,
)
from llmnotes.diffusion.ddpm.ema import EMA
from llmnotes.diffusion.ddpm.log_snr import (
    FIRST,
    LAST,
    Gamma,
    LearnedGamma,
    spread_times,
)
from llmnotes.diffusion.ddpm.network import MLPConfig, ResidualMLP
from llmnotes.diffusion.ddpm.task import JUDGED, LEVELS, generator
from llmnotes.task import Task

SIZE = 64
ENDS = FIRST, LAST
STEPS, RATE, DECAY = 1500, 3e-3, 0.995


def plain(width: int, depth: int) -> nn.Module:
    """A network that reads z as it is and says v."""
    return ResidualMLP(MLPConfig(SIZE, width=width, depth=depth))


def fourier(width: int, depth: int, powers=(3, 4)) -> nn.Module:
    """The same, reading z with Fourier features."""
    network = plain(width, depth)
    wide = SIZE * (1 + 2 * len(powers))
    network.read = nn.Sequential(Fourier(powers), nn.Linear(wide, width))
    return network


def over_levels(width: int, depth: int) -> nn.Module:
    """A network that reads and says something for each level."""
    return ResidualMLP(MLPConfig(SIZE * LEVELS, width=width, depth=depth))


GUESSES = {
    "plain": lambda w, d, decay: VelocityGuess(EMA(plain(w, d), decay), ENDS),
    "fourier": lambda w, d, decay: VelocityGuess(
        EMA(fourier(w, d), decay), ENDS
    ),
    "levels": lambda w, d, decay: LevelsGuess(
        EMA(over_levels(w, d), decay), ENDS, grey_levels(LEVELS)
    ),
}


def untrained(
    guess: str, seed: int = 0, width: int = 192, depth: int = 2, decay=DECAY
) -> nn.Module:
    """A guess that knows nothing yet; its network keeps an average."""
    torch.manual_seed(seed)
    return GUESSES[guess](width, depth, decay)


class Likelihood(Task):
    """Bits for each number of a digit, with times spread over a batch."""

    unit, measure = "pictures", "bits per dimension"

    def __init__(
        self, learn: Tensor, judge: Tensor, *, size: int = 128, seed: int = 0
    ):
        self.learn, self.judge = learn.flatten(1), judge.flatten(1)
        self.size, self.seed, self.gamma = size, seed, Gamma()
        draw = generator(seed, JUDGED)
        self.judged = self.noisy(self.judge.repeat(4, 1), draw)

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures, times from 0 to 1, and noise."""
        draw = generator(self.seed, step)
        some = torch.randint(len(self.learn), (self.size,), generator=draw)
        return self.noisy(self.learn[some], draw)

    def noisy(self, x0: Tensor, draw: torch.Generator) -> tuple:
        """Pictures with times and noise; neighbours have distant times."""
        t = spread_times(len(x0), draw)
        order = torch.randperm(len(x0), generator=draw)
        return x0, t[order], normal(x0, draw)

    def loss(self, model: nn.Module, batch: tuple) -> Tensor:
        """The middle term of the bound; nothing else can be learned."""
        nats = diffusion(model, self.gamma, *batch).mean()
        return bits(nats, self.learn.shape[1])

    def evaluate(self, model: nn.Module) -> float:
        """The same on pictures held out, always with the same noise."""
        return float(self.loss(model, self.judged))


def bits(nats: Tensor, size: int) -> Tensor:
    """Bits for each of `size` numbers, of nats for them all."""
    return nats / (size * math.log(2))


def config(steps=STEPS, rate=RATE, seed=0, every=None, decay=0.0):
    """The rate rises for a tenth and falls in a line to nothing."""
    return train.TrainConfig(
        steps=steps,
        batch_size=1,  # the task makes its own batches
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=min(100, steps // 10),
        betas=(0.9, 0.99),
        weight_decay=decay,
        eval_every=every or steps,
        seed=seed,
    )


def learn(
    guess: nn.Module, learned: Likelihood, config: train.TrainConfig, **options
) -> train.History:
    """Train in place; the average follows. `options` are those of `fit`."""
    optimizer = train.adamw(guess, config)
    guess.network.follow(optimizer)
    return train.fit(guess, learned, config, optimizer=optimizer, **options)


def calm(
    guess: nn.Module, learned: Likelihood, steps: int = 300, rate=0.05
) -> LearnedGamma:
    """A γ under which one draw of the bound varies less.

    Its mean is the same for every γ with these ends, so what makes the mean
    square small makes the variance small. The guess stays as it is.

    Source: Kingma et al. 2021, §5.2 and appendix E.
    """
    gamma = LearnedGamma(learned.gamma.first, learned.gamma.last)
    optimizer = torch.optim.Adam(gamma.parameters(), lr=rate)
    for step in range(steps):
        nats = diffusion(guess, gamma, *learned.batch(step))
        square = bits(nats, learned.learn.shape[1]).square().mean()
        (gamma.heights.grad,) = torch.autograd.grad(square, [gamma.heights])
        optimizer.step()
    return gamma
