"""Are the pictures any good? Four measures, each blind to something.

reader    = a small classifier of real digits; its features are what the
            Fréchet distance and precision and recall compare
accuracy  = share that the reader takes for the class that was asked for;
            blind to a model that draws one good picture of each
frechet   = distance of two normal distributions fitted to features; blind
            to copies: their statistics are perfect
precision = share of what was made that lies among real pictures
recall    = share of real pictures that lie among what was made
copies    = share of what was made that is as near to a training picture as
            real pictures hardly ever are

A Fréchet distance is biased: few pictures look further away. So the same
number is always compared, that of the pictures held out, whose own distance
is the floor.

Sources
- Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule",
  arXiv 1706.08500, eq. 6 (the distance, with an Inception network).
- Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric", arXiv
  1904.06991, eq. 1 and 2.
"""

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes import train
from llmnotes.diffusion.ddpm.task import digits, generator
from llmnotes.modes import evaluating
from llmnotes.task import Task

NEIGHBOURS = 3  # k of precision and recall, the paper's
COPY = 1.0  # nearer than this in pixels is a copy; .4 % of real ones are


class Reader(nn.Module):
    """A convolutional classifier of digits."""

    def __init__(self):
        super().__init__()
        self.near = nn.Conv2d(1, 16, 3, padding=1)
        self.far = nn.Conv2d(16, 32, 3, padding=1)
        self.mix = nn.Linear(512, 64)
        self.read = nn.Linear(64, 10)

    def features(
        self, pictures: Float[Tensor, "batch rows columns"]
    ) -> Float[Tensor, "batch width"]:
        """What it sees in pictures from -1 to 1."""
        near = F.relu(self.near(pictures[:, None]))
        far = F.max_pool2d(F.relu(self.far(near)), 2)
        return F.relu(self.mix(far.flatten(1)))

    def forward(
        self, pictures: Float[Tensor, "batch rows columns"]
    ) -> Float[Tensor, "batch classes"]:
        """Logits of the ten classes."""
        return self.read(self.features(pictures))


class Reading(Task):
    """Tell digits apart, with a little noise on them."""

    unit, measure, size = "pictures", "mistakes", 64

    def __init__(self, seed: int):
        self.learn, self.judge = digits()
        self.seed = seed

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Pictures with noise of 0.1, and their classes."""
        draw, (pictures, classes) = generator(self.seed, step), self.learn
        some = torch.randint(len(pictures), (self.size,), generator=draw)
        noise = torch.randn(pictures[some].shape, generator=draw)
        return pictures[some] + 0.1 * noise, classes[some]

    def loss(self, model: nn.Module, batch) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model: nn.Module) -> float:
        """Share of the held-out pictures that are read wrongly."""
        return 1 - accuracy(model, *self.judge)


@functools.cache
def reader(seed: int = 0) -> Reader:
    """The trained classifier, a few seconds of work, once per process.

    It is trained also where it is first asked without gradients.
    """
    config = train.TrainConfig(
        steps=400, batch_size=1, learning_rate=3e-3, min_learning_rate=0.0,
        warmup=20, weight_decay=0.0, eval_every=400, seed=seed,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        model = Reader()
        train.fit(model, Reading(seed), config, progress=False)
    return model.eval().requires_grad_(False)


def accuracy(
    model: nn.Module,
    pictures: Float[Tensor, "batch rows columns"],
    classes: Int[Tensor, "batch"],
) -> float:
    """Share of pictures that are read as their class."""
    with evaluating(model):
        return (model(pictures).argmax(1) == classes).float().mean().item()


def frechet(
    a: Float[Tensor, "batch width"], b: Float[Tensor, "examples width"]
) -> float:
    """‖μ_a - μ_b‖² + tr(C_a + C_b - 2 (C_a C_b)^½), in float64.

    The trace of the root is the sum of the roots of the eigenvalues of
    C_a C_b, which are those of a symmetric matrix. Raises `ValueError` for
    fewer than two rows.

    Source: Heusel et al. 2017, eq. 6.
    """
    check_rows(a, b)
    a, b = a.double(), b.double()
    spread_a, spread_b = covariance(a), covariance(b)
    root = square_root(spread_a)
    inner = torch.linalg.eigvalsh(root @ spread_b @ root)
    cross = inner.clamp(min=0).sqrt().sum()
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(apart + spread_a.trace() + spread_b.trace() - 2 * cross)


def covariance(
    rows: Float[Tensor, "batch width"],
) -> Float[Tensor, "width width"]:
    """How features vary together; a matrix even where there is one."""
    return rows.T.cov().view(rows.shape[1], -1)


def square_root(
    matrix: Float[Tensor, "width width"],
) -> Float[Tensor, "width width"]:
    """The root of a symmetric matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


def among(
    points: Float[Tensor, "batch width"],
    others: Float[Tensor, "examples width"],
    k: int = NEIGHBOURS,
) -> Bool[Tensor, "batch"]:
    """Whether each point lies within a ball around one of the others.

    A ball reaches to the k-th nearest other. Raises `ValueError` for a k
    that there are not enough others for. Source: Kynkäänniemi et al. 2019.
    """
    if not 1 <= k < len(others):
        raise ValueError(
            f"k: got {k}, expected 1 to {len(others) - 1}, as there are "
            f"{len(others)} points"
        )
    apart = torch.cdist(others, others)
    radius = apart.kthvalue(k + 1).values  # the nearest is the point itself
    return (torch.cdist(points, others) <= radius).any(1)


def precision_recall(
    made: Float[Tensor, "batch width"],
    real: Float[Tensor, "examples width"],
    k: int = NEIGHBOURS,
) -> tuple[float, float]:
    """How much of what was made is real, how much that is real was made."""
    precision, recall = among(made, real, k), among(real, made, k)
    return precision.float().mean().item(), recall.float().mean().item()


def nearest(
    pictures: Float[Tensor, "batch rows columns"],
    others: Float[Tensor, "examples rows columns"],
) -> Float[Tensor, "batch"]:
    """Distance in pixels to the nearest of the others."""
    return torch.cdist(pictures.flatten(1), others.flatten(1)).amin(1)


def judged(
    make: Callable[[Tensor, torch.Generator], Tensor],
    seed: int = 0,
    sets: int = 3,
) -> dict[str, float]:
    """The measures of what `make(classes, generator)` makes, by name.

    As many pictures of each class as are held out, in several sets; each
    number is the mean over them. Pictures are clamped to -1 … 1.
    """
    (_, _), (_, classes) = digits()
    found = [
        measures(make(classes, generator(seed, n)).clamp(-1, 1), classes)
        for n in range(sets)
    ]
    return {name: sum(one[name] for one in found) / sets for name in found[0]}


def floor() -> dict[str, float]:
    """The measures of the pictures held out: what cannot be beaten fairly."""
    return measures(*digits()[1])


def measures(pictures: Tensor, classes: Tensor) -> dict[str, float]:
    """All measures of some pictures, against those learned from."""
    model, (real, _) = reader(), digits()[0]
    with evaluating(model):
        made, seen = model.features(pictures), model.features(real)
    precision, recall = precision_recall(made, seen)
    away = nearest(pictures, real)
    return {
        "accuracy": accuracy(model, pictures, classes),
        "frechet": frechet(made, seen),
        "precision": precision,
        "recall": recall,
        "nearest": away.mean().item(),
        "copies": (away < COPY).float().mean().item(),
    }


def check_rows(*features: Tensor) -> None:
    """Raise `ValueError` for too few rows for a covariance."""
    for rows in features:
        if len(rows) < 2:
            raise ValueError(
                f"features: got {len(rows)} row, expected at least 2"
            )
