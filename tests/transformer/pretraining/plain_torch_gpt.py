"""The contestant: a GPT as one would write and train it with torch alone."""

import torch
import torch.nn.functional as F
from torch import nn

from llmnotes import train


class PlainBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        shape = (batch, length, self.heads, width // self.heads)
        q, k, v = self.qkv(self.ln_1(x)).split(width, dim=2)
        q, k, v = (t.view(shape).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(x.shape))
        y = self.up(self.ln_2(x))
        return x + self.down(F.gelu(y, approximate="tanh"))


class PlainGPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config.n_embd
        self.token = nn.Embedding(config.vocab_size, width)
        self.position = nn.Embedding(config.n_positions, width)
        self.blocks = nn.ModuleList(
            PlainBlock(width, config.n_head) for _ in range(config.n_layer)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.vocab_size, bias=False)
        self.head.weight = self.token.weight
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids):
        position = torch.arange(ids.shape[1])
        x = self.token(ids) + self.position(position)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class TwoThreads:
    """Trains as everybody does: PyTorch's own threads, two of them."""

    def __init__(self, model, optimizer, config, ids):
        self.optimizer = optimizer(model, config)
        self.model, self.config = model, config
        self.task = train.LanguageModelling(ids, ids, config)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def step(self, number):
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            return self.update(number)
        finally:  # others that are timed beside it have one
            torch.set_num_threads(before)

    def update(self, number):
        return train.update(
            *(self.model, self.optimizer, self.task),
            *(self.task.batch(number), self.config, number),
        )


def adamw(model, config):
    """AdamW as one would write it."""
    return torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, fused=True
    )
