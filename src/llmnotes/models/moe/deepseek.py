"""Narrow experts, and some that read every token.

    m    = pieces into which a wide expert is cut; m·k of m·N are chosen
    ways = how many sets of experts a token can be given to

The same parameters and the same work, and far more ways to combine: of 16
experts two make 120 pairs, of 64 a quarter as wide eight make 4,426,165,368
sets. What all tokens need does not have to be learned by each expert: shared
ones have it.

Source
- Dai et al. 2024, "DeepSeekMoE", arXiv 2401.06066, §3.1 and §3.2.
"""

import math
from dataclasses import replace
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import check_divides
from llmnotes.models.llama import SwiGLU
from llmnotes.models.moe.config import DeepSeekConfig, MixtralConfig
from llmnotes.models.moe.model import Mixture

AnyConfig = TypeVar("AnyConfig", bound=MixtralConfig)


def finer(config: AnyConfig, pieces: int) -> AnyConfig:
    """The shape with every expert cut into `pieces` of a narrower kind.

    Raises `ValueError` unless pieces divide the width of an expert.
    """
    inner = config.intermediate_size
    check_divides("intermediate_size", inner, pieces=pieces)
    return replace(
        config,
        intermediate_size=inner // pieces,
        num_local_experts=config.num_local_experts * pieces,
        num_experts_per_tok=config.num_experts_per_tok * pieces,
    )


def ways(config: MixtralConfig) -> int:
    """How many sets of experts a token can be given to."""
    return math.comb(config.num_local_experts, config.num_experts_per_tok)


class SharedMixture(Mixture):
    """A mixture, and beside it experts that read every token.

    Several shared experts are one SwiGLU as wide as all of them.

    Source: Dai et al. 2024, §3.2.
    """

    def __init__(self, config: DeepSeekConfig):
        super().__init__(config)
        inner = config.n_shared_experts * config.intermediate_size
        self.shared_experts = SwiGLU(replace(config, intermediate_size=inner))

    def forward(
        self, x: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch d_model"]:
        """What those say that were chosen, and those that always are."""
        return super().forward(x) + self.shared_experts(x)
