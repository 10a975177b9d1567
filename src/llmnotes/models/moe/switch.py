"""Switch: one expert for each token, with room for so many and no more.

    places = C, tokens that an expert has room for
    factor = c, the capacity factor: C = ⌈c · tokens · k / N⌉
    what finds no room goes to nobody: its mixture is 0, and the block's
    residual stream hands it on as it came

A fixed number of places makes each expert a matrix product of the same size,
whatever the router does, which is what compilers and chips like. The price
is that a token's answer depends on who stood before it.

Sources
- Fedus, Zoph and Shazeer 2021, "Switch Transformers", arXiv 2101.03961,
  §2.1 (one expert), §2.2 (capacity, eq. 3).
- Lepikhin et al. 2020, "GShard", arXiv 2006.16668, §2.2 (second choices
  wait until all first ones are placed).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import check_sizes, checked
from llmnotes.models.moe.config import SwitchConfig
from llmnotes.models.moe.model import Mixture
from llmnotes.models.moe.routing import Router, Routing
from llmnotes.precision import wide


def capacity(tokens: int, experts: int, factor: float, chosen: int = 1) -> int:
    """Places of each expert, ⌈factor · tokens · chosen / experts⌉.

    Raises `ValueError` for a factor that is not more than 0.
    """
    check_sizes(tokens=tokens, experts=experts, chosen=chosen)
    if not factor > 0:
        raise ValueError(f"factor: got {factor}, expected more than 0")
    return math.ceil(round(factor * tokens * chosen / experts, 9))


def fitting(routing: Routing, places: int) -> Routing:
    """Send to nobody what comes when an expert's places are taken.

    First choices are placed first, in the order of the tokens.

    Raises `ValueError` for places below 1.
    """
    check_sizes(places=places)
    chosen = routing.experts.shape[1]
    queue = routing.experts.T.flatten()
    place = F.one_hot(queue, routing.count).cumsum(0)  # the first has 1
    place = place.gather(1, queue[:, None])
    fits = (place <= places).view(chosen, -1).T
    experts = routing.experts.where(fits, routing.count)
    return routing._replace(experts=experts)


class SwitchRouter(Router):
    """The likeliest expert, whose answer counts as much as it is likely.

    Divided by the sum of the chosen, as Mixtral does, that would be 1, and
    the router would learn nothing.

    Source: Fedus et al. 2021, eq. 1 and 2.
    """

    def forward(self, x: Float[Tensor, "tokens d_model"]) -> Routing:
        """Choose for each token."""
        logits = F.linear(x, self.weight)
        weights, experts = wide(logits).softmax(-1).topk(self.chosen, dim=-1)
        return Routing(experts, weights, logits)


class Switch(Mixture):
    """A mixture of one expert, where an expert can be full.

    Source: Fedus et al. 2021, §2.2; their experts are ReLU MLPs.
    """

    router = SwitchRouter

    def __init__(self, config: SwitchConfig):
        super().__init__(config)
        self.factor = config.capacity_factor

    @checked
    def forward(
        self, x: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*batch d_model"]:
        """Tokens of the whole batch stand in one queue, in their order."""
        rows = x.reshape(-1, x.shape[-1])
        routing = self.gate(rows)
        places = capacity(
            len(rows), routing.count, self.factor, self.gate.chosen
        )
        return self.experts(rows, fitting(routing, places)).view_as(x)


def dropped(routing: Routing) -> int:
    """How many choices went to nobody."""
    return int(torch.count_nonzero(routing.experts == routing.count))
