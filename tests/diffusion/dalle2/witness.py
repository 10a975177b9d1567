"""The network of embeddings and its loss once more, in NumPy and by hand."""

import numpy as np


def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


def silu(x):
    """x times its sigmoid."""
    return x * sigmoid(x)


def normal(x):
    """Each row with mean 0 and variance 1."""
    centred = x - x.mean(1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)


class Network:
    """Weights by their names in PyTorch."""

    def __init__(self, state):
        self.state = {n: p.numpy().astype(float) for n, p in state.items()}

    def linear(self, name, x):
        """Wx + b."""
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def clock(self, time):
        """Cosines and sines, then two layers."""
        half = self.state["time.0.weight"].shape[1] // 2
        speed = 1000.0 * 10_000.0 ** (-np.arange(half) / half)
        angles = time[:, None] * speed[None]
        waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        return self.linear("time.2", silu(self.linear("time.0", waves)))

    def __call__(self, x, time, texts):
        """What it says of noisy embeddings."""
        about = silu(self.clock(time) + self.linear("told", texts))
        h = self.linear("read", np.concatenate([x, texts], axis=1))
        block = 0
        while f"blocks.{block}.modulation.weight" in self.state:
            h = h + self.block(f"blocks.{block}", h, about)
            block += 1
        h = normal(h) * self.state["norm.weight"] + self.state["norm.bias"]
        return self.linear("write", h)

    def block(self, name, h, about):
        """What one block adds."""
        shift, scale, gate = np.split(
            self.linear(f"{name}.modulation", about), 3, axis=1
        )
        inner = normal(h) * (1 + scale) + shift
        up = silu(self.linear(f"{name}.branch.0", inner))
        return gate * self.linear(f"{name}.branch.2", up)

    def loss(self, images, texts, t, noise, steps=1000):
        """The mean squared error of x_0 under the cosine schedule."""
        angle = (t / steps + 0.008) / 1.008 * np.pi / 2
        first = np.cos(0.008 / 1.008 * np.pi / 2) ** 2
        bar = (np.cos(angle) ** 2 / first)[:, None]
        x = np.sqrt(bar) * images + np.sqrt(1 - bar) * noise
        return ((self(x, t / steps, texts) - images) ** 2).mean()
