"""The autoregressive prior: an embedding is written code by code.

codes    = q_1 … q_K of a picture's embedding, see `codes`
nearness = bucket of cos(z_i, z_t): equally full ones in training
sequence = caption's embedding, nearness, q_1 … q_K; each code is predicted
           from all that stands before it
log p(z_i | z_t) = Σ_k log p(q_k | q_1 … q_{k-1}, nearness, z_t)

When it draws, it asks for a nearness from the upper half.

Sources
- Ramesh et al. 2022, "DALL·E 2", arXiv 2204.06125, §2.2 (codes by a causal
  transformer; the dot product as a token, its upper half when drawn; the
  caption is hidden from a tenth).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_divides, check_sizes
from llmnotes.diffusion.clip.config import TowerConfig
from llmnotes.diffusion.clip.towers import Encoder
from llmnotes.diffusion.dalle2.codes import Codes
from llmnotes.diffusion.dalle2.priors import Prior
from llmnotes.diffusion.ddpm.task import check_drop
from llmnotes.diffusion.guidance import dropped, guide


@dataclass(frozen=True)
class CodesConfig:
    """The shape of the transformer, and how fine embeddings are coded.

    Raises `ValueError` naming the field that cannot be.
    """

    kept: int = 16
    buckets: int = 32
    levels: int = 8  # of nearness
    width: int = 64
    depth: int = 2
    heads: int = 4

    def __post_init__(self):
        check_sizes(**vars(self))
        check_divides("width", self.width, heads=self.heads)


class AutoregressivePrior(Prior):
    """A causal transformer over the codes of a picture's embedding.

    It is made from the embeddings that it is to learn: they say where the
    axes lie and how near pictures are to their captions.

    Raises `ValueError` for a share to drop that is none.

    Source: Ramesh et al. 2022, §2.2.
    """

    def __init__(
        self,
        texts: Float[Tensor, "examples features"],
        images: Float[Tensor, "examples features"],
        config: CodesConfig | None = None,
        *,
        drop: float = 0.1,
        scale: float = 1.0,
    ):
        super().__init__()
        check_drop(drop)
        config = config or CodesConfig()
        self.config, self.drop, self.scale = config, drop, scale
        self.codes = Codes(images, config.kept, config.buckets)
        inner = torch.arange(1, config.levels) / config.levels
        edges = cosines(texts, images).quantile(inner.to(texts))
        self.register_buffer("edges", edges)
        self.build(texts.shape[1], config)

    def build(self, features: int, config: CodesConfig) -> None:
        """The network; sizes of the same order, so that none is drowned."""
        width = config.width
        self.told = nn.Linear(features, width)
        self.levels = nn.Embedding(config.levels, width)
        self.buckets = nn.Embedding(config.buckets, width)
        self.places = nn.Parameter(torch.randn(config.kept + 2, width))
        shape = TowerConfig(width, 4 * width, config.depth, config.heads)
        self.encoder, self.norm = Encoder(shape), nn.LayerNorm(width)
        self.write = nn.Linear(width, config.buckets)

    def logits(
        self,
        texts: Float[Tensor, "batch features"],
        nearness: Int[Tensor, "batch"],
        codes: Int[Tensor, "batch known"],
    ) -> Float[Tensor, "batch following buckets"]:
        """What comes next, after the nearness and after each code."""
        x = torch.cat(
            [
                self.told(texts)[:, None],
                self.levels(nearness)[:, None],
                self.buckets(codes),
            ],
            dim=1,
        )
        x = self.encoder(x + self.places[: x.shape[1]], causal=True)
        return self.write(self.norm(x[:, 1:]))

    def near(
        self,
        texts: Float[Tensor, "batch features"],
        images: Float[Tensor, "batch features"],
    ) -> Int[Tensor, "batch"]:
        """The bucket of each pair's cosine: 0 is farthest."""
        return torch.bucketize(cosines(texts, images), self.edges)

    def log_likelihood(
        self,
        texts: Float[Tensor, "batch features"],
        images: Float[Tensor, "batch features"],
    ) -> Float[Tensor, "batch"]:
        """Log p of all codes of an embedding together, in nats."""
        codes, nearness = self.codes.encode(images), self.near(texts, images)
        found = self.logits(texts, nearness, codes[:, :-1]).log_softmax(-1)
        return found.gather(-1, codes[..., None])[..., 0].sum(1)

    def loss(self, texts, images, generator) -> Tensor:
        """Nats for each code; some captions are hidden."""
        codes, nearness = self.codes.encode(images), self.near(texts, images)
        nothing = torch.zeros_like(texts)
        told = dropped(texts, nothing, self.drop, generator=generator)
        found = self.logits(told, nearness, codes[:, :-1])
        return F.cross_entropy(found.flatten(0, 1), codes.flatten())

    def guess(
        self,
        texts: Float[Tensor, "batch features"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch features"]:
        """Draw code by code, then turn them back into an embedding."""
        levels = self.config.levels
        nearness = torch.randint(
            levels // 2, levels, (len(texts),), generator=generator
        ).to(texts.device)
        codes = nearness.new_empty(len(texts), 0)
        for _ in range(self.config.kept):
            said = self.next(texts, nearness, codes).softmax(-1)
            drawn = torch.multinomial(said.cpu(), 1, generator=generator)
            codes = torch.cat([codes, drawn.to(codes)], dim=1)
        return self.codes.decode(codes)

    def next(
        self,
        texts: Float[Tensor, "batch features"],
        nearness: Int[Tensor, "batch"],
        codes: Int[Tensor, "batch known"],
    ) -> Float[Tensor, "batch buckets"]:
        """Logits of the next code alone, guided."""
        with_ = self.logits(texts, nearness, codes)[:, -1]
        if self.scale == 1:
            return with_
        nothing = torch.zeros_like(texts)
        return guide(
            self.logits(nothing, nearness, codes)[:, -1], with_, self.scale
        )


def cosines(
    texts: Float[Tensor, "batch features"],
    images: Float[Tensor, "batch features"],
) -> Float[Tensor, "batch"]:
    """Cosine of each caption with its own picture."""
    return F.cosine_similarity(texts, images, dim=1)
