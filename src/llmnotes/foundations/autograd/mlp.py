"""A network of layers on our own autograd, and the loop that trains it.

    parameters = [W₁, b₁, W₂, b₂, …]
    logits     = relu(… relu(xW₁ + b₁)W₂ + b₂ …), no relu at the end

Sources
- He et al. 2015, "Delving Deep into Rectifiers", arXiv 1502.01852, §2.2
  (how it starts).
- Kingma & Ba 2014, "Adam: A Method for Stochastic Optimization", arXiv
  1412.6980, algorithm 1.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from llmnotes.foundations.autograd.backward import gradients
from llmnotes.foundations.autograd.engine import Tensor
from llmnotes.progress_bar import bar


def initialise(
    widths: Sequence[int], rng: np.random.Generator, dtype=np.float32
) -> list[Tensor]:
    """Weights of variance 2/inputs, which relu needs; biases of zero.

    Source: He et al. 2015.
    """
    parameters = []
    for inputs, outputs in zip(widths, widths[1:], strict=False):
        weight = rng.standard_normal((inputs, outputs)) * (2 / inputs) ** 0.5
        parameters += [
            Tensor(weight.astype(dtype)),
            Tensor(np.zeros(outputs, dtype)),
        ]
    return parameters


def logits(
    parameters: Sequence[Tensor], x: Float[np.ndarray, "batch input"]
) -> Float[Tensor, "batch classes"]:
    """The network's scores, one row per example."""
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        x = x @ weight + bias
        if bias is not parameters[-1]:
            x = x.relu()
    return x


def cross_entropy(
    scores: Float[Tensor, "batch classes"], labels: Int[np.ndarray, "batch"]
) -> Float[Tensor, ""]:
    """The mean of −ln p of the class that is right."""
    chances = scores.log_softmax()
    return -chances[np.arange(len(labels)), labels].mean()


class Adam:
    """Steps as long as a gradient is steady, short where it wavers.

    Source: Kingma & Ba 2014.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
    ):
        self.parameters, self.learning_rate = parameters, learning_rate
        self.betas, self.steps = betas, 0
        self.means = [np.zeros_like(p.data) for p in parameters]
        self.squares = [np.zeros_like(p.data) for p in parameters]

    def step(self, found: Sequence[np.ndarray], rate: float = 1.0) -> None:
        """Move all parameters; `rate` scales the learning rate."""
        self.steps += 1
        b1, b2 = self.betas
        for i, (p, g) in enumerate(zip(self.parameters, found, strict=True)):
            self.means[i] = b1 * self.means[i] + (1 - b1) * g
            self.squares[i] = b2 * self.squares[i] + (1 - b2) * g * g
            mean = self.means[i] / (1 - b1**self.steps)
            square = self.squares[i] / (1 - b2**self.steps)
            move = mean / (square**0.5 + 1e-8)
            p.data = p.data - rate * self.learning_rate * move


def batches(
    count: int, size: int, epochs: int, rng: np.random.Generator
) -> Iterator[Int[np.ndarray, "batch"]]:
    """Every example once per epoch, in an order of its own."""
    for _ in range(epochs):
        order = rng.permutation(count)
        yield from np.array_split(order, -(-count // size))


def train(
    parameters: Sequence[Tensor],
    x: Float[np.ndarray, "examples input"],
    labels: Int[np.ndarray, "examples"],
    rng: np.random.Generator,
    *,
    epochs: int = 30,
    batch_size: int = 64,
    learning_rate: float = 5e-3,
    progress: bool = True,
) -> list[float]:
    """Train with Adam, the rate falling to zero in a line; return losses.

    On a terminal a bar shows the loss and the time left.
    """
    optimizer = Adam(parameters, learning_rate)
    steps = list(batches(len(x), batch_size, epochs, rng))
    losses = []
    shown = bar(steps, on=progress)
    for i, chosen in enumerate(shown):
        loss = cross_entropy(logits(parameters, x[chosen]), labels[chosen])
        optimizer.step(gradients(loss, parameters), 1 - i / len(steps))
        losses.append(float(loss.data))
        shown.set_description_str(f"loss {losses[-1]:.3f}", refresh=False)
    return losses


def accuracy(
    parameters: Sequence[Tensor],
    x: Float[np.ndarray, "examples input"],
    labels: Int[np.ndarray, "examples"],
) -> float:
    """The share of examples whose highest score is the right class."""
    best = logits(parameters, x).data.argmax(-1)
    return float((best == labels).mean())
