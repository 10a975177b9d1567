"""A small model with all that makes sharding hard, and plain training of it.

Tied weights, a frozen layer, a weight that some steps do not use, layers,
odd sizes; matrices decay and vectors do not.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.checkpoint import checkpoint

from llmnotes.train import adamw
from llmnotes.train_config import TrainConfig
from llmnotes.transformer.gpt import GPT, GPTConfig

VOCAB, WIDTH, INNER, LENGTH, BATCH = 7, 5, 3, 4, 9
CONFIG = TrainConfig(
    steps=4, batch_size=BATCH, block=LENGTH, learning_rate=0.1,
    weight_decay=0.3, clip=1.0,
)  # fmt: skip


class Layer(nn.Module):
    """Narrow, bend, widen; added to what was there."""

    def __init__(self):
        super().__init__()
        self.down = nn.Linear(WIDTH, INNER)
        self.up = nn.Linear(INNER, WIDTH)

    def forward(self, x):
        return x + self.up(torch.tanh(self.down(x)))


class Toy(nn.Module):
    """Scores of the next token, by a tied head."""

    def __init__(self, layers=3):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.still = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.sometimes = nn.Parameter(torch.randn(WIDTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids, sometimes=True):
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        x = self.still(x)
        if sometimes:
            x = x * self.sometimes
        return self.head(self.norm(x))


class Checkpointed(Toy):
    """The toy whose layers compute again in backward."""

    def forward(self, ids, sometimes=True):
        x = self.embed(ids)
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False)
        return self.head(self.norm(self.still(x) * self.sometimes))


def toy(dtype=torch.float64, kind=Toy):
    """The same toy everywhere."""
    torch.manual_seed(3)
    return kind().to(dtype)


def gpt():
    """A small GPT, its head tied to its embedding."""
    torch.manual_seed(4)
    return GPT(GPTConfig(11, 5, 6, n_layer=2, n_head=3)).double()


def gpt_ids():
    """Two texts of six tokens."""
    draw = torch.Generator().manual_seed(1)
    return torch.randint(11, (2, 6), generator=draw)


def make(model):
    """The optimizer of the training loop, as `ShardedOptimizer` asks."""
    return lambda parameters: adamw(model, CONFIG)


def batch(step):
    """Token numbers of a step, the same on every rank."""
    draw = torch.Generator().manual_seed(100 + step)
    return torch.randint(VOCAB, (BATCH, LENGTH + 1), generator=draw)


def losses(model, rows, pieces=1, sometimes=True):
    """Loss of some rows, in pieces: shares of the mean over the batch."""
    for ids in rows.tensor_split(pieces):
        logits = model(ids[:, :-1], sometimes)
        total = F.cross_entropy(
            logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum"
        )
        yield total / (BATCH * LENGTH)


def used(step):
    """Whether a step uses the weight that is not always used."""
    return step != 1


def alone(dtype=torch.float64, steps=4, clip=0.5):
    """Train in one process; returns model, optimizer and norms."""
    model = toy(dtype)
    optimizer = adamw(model, CONFIG)
    trained = [p for p in model.parameters() if p.requires_grad]
    norms = []
    for step in range(steps):
        optimizer.zero_grad()
        for loss in losses(model, batch(step), sometimes=used(step)):
            loss.backward()
        norms.append(float(clip_grad_norm_(trained, clip)))
        optimizer.step()
    return model, optimizer, norms
