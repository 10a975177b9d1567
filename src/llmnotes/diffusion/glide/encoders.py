"""What stands between a condition and the network: vectors to look at.

condition = ids of captions, or vectors that somebody else has made
vectors   = one for each token of the condition, which patches look at
visible   = which of them there are; the rest is padding
summary   = one vector for the whole, which stands beside time

An encoder also knows how to say nothing, for classifier-free guidance: the
empty caption, or zeros for vectors.

Sources
- Nichol et al. 2022, "GLIDE", arXiv 2112.10741, §4.1 (the encoder is trained
  along; what both outputs are for), §4.2 (the empty caption).
- Ramesh et al. 2022, "DALL·E 2", arXiv 2204.06125, §2.1 (zeros).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import (
    check_divides,
    check_length,
    check_sizes,
    check_within,
    checked,
)
from llmnotes.diffusion.glide.layers import SelfAttention, normal


class Read(NamedTuple):
    """What an encoder makes of a condition."""

    vectors: Float[Tensor, "batch key context"]
    visible: Bool[Tensor, "batch key"] | None
    summary: Float[Tensor, "batch context"]


class Encoder(Protocol):
    """Any module that reads conditions and can say nothing."""

    width: int

    def __call__(self, condition: Any) -> Read:
        """Vectors, which of them there are, and a summary."""
        ...

    def nothing(self, condition: Any) -> Any:
        """A condition of this form that says nothing."""
        ...

    def silence(self, count: int) -> Any:
        """That for so many pictures, where there is no condition at all."""
        ...


@dataclass(frozen=True)
class CaptionConfig:
    """The shape of a text encoder; `empty` are the ids of no words.

    Raises `ValueError` naming the field that cannot be.
    """

    vocab: int
    empty: tuple[int, ...]
    pad: int = 0
    width: int = 64
    depth: int = 1
    heads: int = 2

    def __post_init__(self):
        check_sizes(vocab=self.vocab, width=self.width, heads=self.heads)
        check_sizes(0, depth=self.depth, pad=self.pad)
        check_divides("width", self.width, heads=self.heads)
        check_empty(self.empty, self.vocab, self.pad)

    @property
    def length(self) -> int:
        """Tokens of the longest caption."""
        return len(self.empty)


class TextLayer(nn.Module):
    """Attention among the words, then an MLP; each beside its input."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attend = SelfAttention(width, heads)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        visible: Bool[Tensor, "batch length"],
    ) -> Float[Tensor, "batch length d_model"]:
        """Let the words of a caption read each other."""
        x = x + self.attend(normal(x), visible)
        return x + self.down(F.silu(self.up(normal(x))))


class Captions(nn.Module):
    """A small transformer over a caption, trained along with the pictures.

    Raises `ValueError` for ids that are no tokens or more than it knows.

    Source: Nichol et al. 2022, §4.1.
    """

    def __init__(self, config: CaptionConfig):
        super().__init__()
        self.config, self.width = config, config.width
        self.tokens = nn.Embedding(config.vocab, config.width)
        self.places = nn.Embedding(config.length, config.width)
        self.layers = nn.ModuleList(
            TextLayer(config.width, config.heads) for _ in range(config.depth)
        )

    @checked
    def forward(self, ids: Int[Tensor, "batch length"]) -> Read:
        """A vector for each token, and their mean."""
        check_length("length", self.config.length, ids=ids)
        check_within(0, self.config.vocab - 1, ids=ids)
        visible = ids != self.config.pad
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, visible)
        x = normal(x)
        return Read(x, visible, mean(x, visible))

    def nothing(
        self, ids: Int[Tensor, "batch length"]
    ) -> Int[Tensor, "batch length"]:
        """The empty caption in each row."""
        return self.silence(len(ids))[:, : ids.shape[1]].to(ids)

    def silence(self, count: int) -> Int[Tensor, "batch length"]:
        """The empty caption, so many times."""
        device = self.tokens.weight.device
        return torch.tensor(self.config.empty, device=device).expand(count, -1)


class Vectors(nn.Module):
    """Vectors of another model, such as CLIP's embeddings of pictures.

    They are projected and read as a set: where a vector stands says nothing.
    Zeros are nothing. Source: Ramesh et al. 2022, §2.1.
    """

    def __init__(self, features: int, width: int = 64, tokens: int = 1):
        super().__init__()
        self.features, self.width, self.tokens = features, width, tokens
        self.project = nn.Linear(features, tokens * width)
        self.layers = nn.ModuleList()  # nothing among them is read

    @checked
    def forward(self, vectors: Float[Tensor, "batch sent features"]) -> Read:
        """`tokens` vectors to look at for each that was sent."""
        x = self.project(vectors).unflatten(-1, (self.tokens, self.width))
        x = x.flatten(1, 2)
        return Read(x, None, x.mean(1))

    def nothing(
        self, vectors: Float[Tensor, "batch sent features"]
    ) -> Float[Tensor, "batch sent features"]:
        """Zeros."""
        return torch.zeros_like(vectors)

    def silence(self, count: int) -> Float[Tensor, "batch 1 features"]:
        """One vector of zeros, so many times."""
        return self.project.weight.new_zeros(count, 1, self.features)


def mean(
    x: Float[Tensor, "batch key context"], visible: Bool[Tensor, "batch key"]
) -> Float[Tensor, "batch context"]:
    """The mean of the vectors that are there."""
    there = visible[..., None].to(x.dtype)
    return (x * there).sum(1) / there.sum(1).clamp(min=1)


def check_empty(empty: tuple[int, ...], vocab: int, pad: int) -> None:
    """Raise `ValueError` unless these are ids, and not all padding."""
    if not all(0 <= i < vocab for i in empty) or set(empty) <= {pad}:
        raise ValueError(
            f"empty: got {empty}, expected ids below {vocab} with one at "
            f"least that is not padding: attention has to see something"
        )
