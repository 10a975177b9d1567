"""A small decoder for experiments, in which only the positions change.

Scheme  = where positions can enter: input, scores, queries and keys
Decoder = two or three pre-norm blocks on characters
"""

import contextlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from llmnotes import data, train
from llmnotes.train_config import TrainConfig
from llmnotes.transformer import rope
from llmnotes.transformer.attention import (
    MultiHeadAttention,
    sliding_window_mask,
)
from llmnotes.transformer.positions import (
    LearnedPositions,
    RelativeBias,
    alibi_bias,
    sinusoidal,
)


class Scheme(nn.Module):
    """No positions; the subclasses below override one method each."""

    def add(self, x):
        return x

    def bias(self, length):
        return None

    def turn(self, query, key, value):
        return query, key, value


class Learned(Scheme):
    def __init__(self, length, d_model):
        super().__init__()
        self.positions = LearnedPositions(length, d_model)

    def add(self, x):
        return self.positions(x)


class Sinusoidal(Scheme):
    def add(self, x):  # x has variance 1 already, so no √d_model here
        return x + sinusoidal(*x.shape[-2:])


class Relative(Scheme):
    def __init__(self, heads, max_lag):
        super().__init__()
        self.relative = RelativeBias(heads, 32, max_lag)

    def bias(self, length):
        return self.relative(length, length)


class Alibi(Scheme):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def bias(self, length):
        return alibi_bias(self.heads, length)


class Rotary(Scheme):
    def __init__(self, frequencies, scale=1.0):
        super().__init__()
        self.frequencies, self.scale = frequencies, scale

    def turn(self, query, key, value):
        place = torch.arange(query.shape[-2])
        turn = rope.Rotary(rope.angles_at(place, self.frequencies))
        query, key, value = turn(query, key, value)
        return query * self.scale, key * self.scale, value


class Windowed(Scheme):
    """A trained scheme in which nobody sees more than the last few keys."""

    def __init__(self, scheme, window):
        super().__init__()
        self.scheme, self.window = scheme, window
        self.add, self.turn = scheme.add, scheme.turn

    def bias(self, length):
        seen = sliding_window_mask(length, length, self.window)
        bias = self.scheme.bias(length)
        return seen if bias is None else bias.where(seen, -torch.inf)


class Block(nn.Module):
    def __init__(self, d_model, heads):
        super().__init__()
        self.norm_1, self.norm_2 = (nn.LayerNorm(d_model) for _ in "12")
        self.attend = MultiHeadAttention(d_model, heads, bias=False)
        self.up = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(4 * d_model, d_model)

    def forward(self, x, scheme):
        bias = scheme.bias(x.shape[-2])
        x = x + self.attend(
            self.norm_1(x), prepare=scheme.turn, mask=bias, causal=True
        )
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class Decoder(nn.Module):
    def __init__(self, vocabulary, scheme, *, d_model, heads, layers):
        super().__init__()
        self.scheme = scheme
        self.embed = nn.Embedding(vocabulary, d_model)
        self.blocks = nn.ModuleList(
            Block(d_model, heads) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocabulary)

    def forward(self, ids):
        x = self.scheme.add(self.embed(ids))
        for block in self.blocks:
            x = block(x, self.scheme)
        return self.head(self.norm(x))


@contextlib.contextmanager
def one_thread():
    """Two threads on matrices this small spend their time waiting."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def corpus():
    """Ids of the Python language reference: (train, validation, size)."""
    text = data.text("python_reference")
    vocabulary = data.CharVocabulary(text)
    return *data.split(vocabulary.encode(text)), vocabulary.size


@dataclass(frozen=True)
class Ramp(TrainConfig):
    """5 % warm-up, then down in a line from the first step on."""

    def rate(self, step):
        up, down = (step + 1) / (0.05 * self.steps), self.steps - step
        return self.learning_rate * min(up, down / self.steps)


def fit(model, ids, other, *, steps, block, batch_size, peak):
    """Train with AdamW, warm-up and linear decay to zero."""
    config = Ramp(
        steps=steps, block=block, batch_size=batch_size, learning_rate=peak
    )
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98))
    task = train.LanguageModelling(ids, other, config)
    train.fit(model, task, config, optimizer=optimizer, progress=False)
    return model


@torch.no_grad()
def loss_by_position(model, ids, *, length, stride):
    """Mean loss in nats at each position of windows of `length`."""
    windows = ids.unfold(0, length + 1, stride)
    losses = [
        F.cross_entropy(model(x[:, :-1]).mT, x[:, 1:], reduction="none")
        for x in windows.split(16)
    ]
    return torch.cat(losses).mean(0)
