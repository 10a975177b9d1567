"""Two tasks that only memory solves, over a lag that we choose.

    lag      = steps that carry nothing between what is shown and the question
    copy     = show a few symbols, wait, then say them in order
    add      = two marked numbers, one on each side of the wait; say their sum
    width    = symbols to copy
    edge     = steps at either end among which a marked number lies

Sources
- Hochreiter & Schmidhuber 1997, "Long Short-Term Memory", Neural
  Computation 9(8): §5.4 adds two marked numbers, right within 0.04.
- Arjovsky, Shah & Bengio 2016, "Unitary Evolution Recurrent Neural
  Networks", arXiv 1511.06464: copies 10 symbols of 8.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from llmnotes import task as training
from llmnotes.train import fit
from llmnotes.train_config import TrainConfig

HELD_OUT = 2**31  # no run of training begins at such a seed


def copy_batch(
    batch: int,
    lag: int,
    generator: Generator,
    symbols: int = 8,
    width: int = 3,
) -> tuple[Float[Tensor, "batch length input"], Int[Tensor, "batch shown"]]:
    """Show `width` symbols, wait `lag` blanks; then a cue and blanks.

    The answers are due at the last `width` steps, the cue's step first.
    """
    blank, cue = symbols, symbols + 1
    shown = torch.randint(symbols, (batch, width), generator=generator)
    ids = torch.full((batch, width + lag + width), blank)
    ids[:, :width] = shown
    ids[:, width + lag] = cue
    return F.one_hot(ids, symbols + 2).float(), shown


def adding_batch(
    batch: int, lag: int, generator: Generator, edge: int = 5
) -> tuple[Float[Tensor, "batch length 2"], Float[Tensor, "batch 1"]]:
    """Number and mark at every step; the answer is due at the last one.

    One number is marked among the first `edge` steps, one among the last.
    """
    values = torch.rand(batch, edge + lag + edge, generator=generator)
    early, late = torch.randint(edge, (2, batch), generator=generator)
    marks = F.one_hot(early, values.shape[1])
    marks = marks + F.one_hot(edge + lag + late, values.shape[1])
    total = (values * marks).sum(1, keepdim=True)
    return torch.stack([values, marks.float()], -1), total


def copy_loss(
    out: Float[Tensor, "batch length vocab"],
    shown: Int[Tensor, "batch shown"],
) -> Tensor:
    """Mean of -ln p of the symbols that were shown."""
    last = out[:, -shown.shape[1] :]
    return F.cross_entropy(rearrange(last, "b t s -> b s t"), shown)


def copy_score(
    out: Float[Tensor, "batch length vocab"],
    shown: Int[Tensor, "batch shown"],
) -> float:
    """Share of the symbols that are recalled, each in its place."""
    said = out[:, -shown.shape[1] :].argmax(-1)
    return (said == shown).double().mean().item()


def adding_loss(
    out: Float[Tensor, "batch length 1"], total: Float[Tensor, "batch 1"]
) -> Tensor:
    """Mean squared error of the sum; 1/6 for always saying 1."""
    return F.mse_loss(out[:, -1], total)


def adding_score(
    out: Float[Tensor, "batch length 1"], total: Float[Tensor, "batch 1"]
) -> float:
    """Share of the sums that are right within 0.04.

    Source: Hochreiter & Schmidhuber 1997.
    """
    return ((out[:, -1] - total).abs() < 0.04).double().mean().item()


@dataclass(frozen=True)
class Task:
    """What to show, what to ask, and how an answer is judged."""

    inputs: int
    answers: int
    batch: Callable
    loss: Callable
    score: Callable


TASKS = {
    "copy": Task(10, 8, copy_batch, copy_loss, copy_score),
    "add": Task(2, 1, adding_batch, adding_loss, adding_score),
}


class Answerer(nn.Module):
    """A recurrence and a linear read-out at every step."""

    def __init__(
        self,
        recurrent: Callable[[int, int], nn.Module],
        task: Task,
        hidden: int,
    ):
        super().__init__()
        self.recurrent = recurrent(task.inputs, hidden)
        self.head = nn.Linear(hidden, task.answers)

    def forward(
        self, x: Float[Tensor, "batch length input"]
    ) -> Float[Tensor, "batch length output"]:
        """Read x from the left and answer at every step."""
        return self.head(self.recurrent(x)[0])


def score(
    model: Answerer,
    task: Task,
    lag: int,
    examples: int = 500,
    seed: int = HELD_OUT,
) -> float:
    """Judge the model on examples that it is not trained on."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        x, answer = task.batch(examples, lag, generator)
        return task.score(model(x), answer)


class Recall(training.Task):
    """A task at one lag, with fresh examples at every step."""

    def __init__(self, task: Task, lag: int, batch: int, seed: int):
        self.task, self.lag, self.examples = task, lag, batch
        self.generator, self.seed, self.drawn = Generator(), seed, math.inf

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Examples of a step: those after the examples of the step before."""
        if step < self.drawn:
            self.generator.manual_seed(self.seed)
            self.drawn = 0
        for _ in range(self.drawn, step + 1):
            batch = self.task.batch(self.examples, self.lag, self.generator)
        self.drawn = step + 1
        return batch

    def loss(self, model: nn.Module, batch: tuple) -> Tensor:
        """Compare the model's answers with the right ones."""
        x, answer = batch
        return self.task.loss(model(x), answer)

    def evaluate(self, model: nn.Module) -> float:
        """Share of wrong answers."""
        return 1 - score(model, self.task, self.lag)


def learn(
    model: Answerer,
    task: Task,
    lag: int,
    *,
    steps: int,
    batch: int = 32,
    learning_rate: float = 3e-3,
    enough: float = 0.98,
    seed: int = 0,
) -> int:
    """Train with Adam on fresh examples until the score is `enough`.

    Gradients are clipped to norm 1. Returns how many steps were taken.
    """
    if score(model, task, lag) >= enough:
        return 0
    config = TrainConfig(
        steps=steps,
        learning_rate=learning_rate,
        min_learning_rate=learning_rate,
        warmup=0,
        eval_every=100,
        seed=seed,
    )
    history = fit(
        model,
        Recall(task, lag, batch, seed),
        config,
        optimizer=torch.optim.Adam(model.parameters()),
        enough=1 - enough,
        progress=False,
    )
    return history[-1].step
