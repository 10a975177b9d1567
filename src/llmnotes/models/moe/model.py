"""Mixtral: a Llama in whose blocks a mixture of experts is the MLP.

    gate    = the router; experts = the matrices of all of them
    active  = parameters that one token meets

Names are those of Hugging Face's modules: `model.layers.0.mlp.gate.weight`.

Source
- Jiang et al. 2024, "Mixtral of Experts", arXiv 2401.04088, §2.
"""

from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.checks import checked
from llmnotes.models.llama import Block, Llama
from llmnotes.models.moe.config import MixtralConfig
from llmnotes.models.moe.experts import Experts
from llmnotes.models.moe.routing import Router
from llmnotes.transformer.gpt import parameters


class Mixture(nn.Module):
    """Each token is read by the few experts that a router chooses for it.

    A variant is a subclass with another router.

    Source: Jiang et al. 2024, §2.1.
    """

    router = Router

    def __init__(self, config: MixtralConfig):
        super().__init__()
        self.gate = self.router(config)
        self.experts = Experts(config)

    @checked
    def forward(
        self, x: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch d_model"]:
        """Each token on its own; its place in the batch plays no part."""
        rows = x.reshape(-1, x.shape[-1])
        return self.experts(rows, self.gate(rows)).view_as(x)


class MixtralBlock(Block):
    """Llama's block with a mixture in the place of its MLP."""

    feed_forward = Mixture


class Mixtral(Llama):
    """Called as a `Llama`, and refuses what that refuses.

    Source: Jiang et al. 2024.
    """

    block = MixtralBlock


def active_parameters(model: nn.Module) -> int:
    """How many parameters one token meets; embeddings count whole."""
    idle = 0
    for module in model.modules():
        if isinstance(module, Experts):
            count = len(module.down_proj)
            idle += parameters(module) // count * (count - module.chosen)
    return parameters(model) - idle
