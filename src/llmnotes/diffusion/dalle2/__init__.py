"""DALL·E 2: from a caption to what its picture is like, and from there on."""

from llmnotes.diffusion.dalle2.autoregressive import (
    AutoregressivePrior,
    CodesConfig,
)
from llmnotes.diffusion.dalle2.codes import Codes, Components
from llmnotes.diffusion.dalle2.decoding import (
    beginnings,
    decode,
    decoder,
    draw,
    told,
)
from llmnotes.diffusion.dalle2.diffusion_prior import DiffusionPrior
from llmnotes.diffusion.dalle2.embeddings import (
    angle,
    edited,
    mean_gap,
    scaled,
    slerp,
)
from llmnotes.diffusion.dalle2.network import EmbeddingConfig, EmbeddingNetwork
from llmnotes.diffusion.dalle2.priors import (
    BestOf,
    Direct,
    MeanGap,
    MeanOf,
    Prior,
    Regression,
)
from llmnotes.diffusion.dalle2.variations import (
    Halves,
    between,
    halved,
    varied,
)
