"""Who reads a token: the router, and its choices.

    logits  = h(x) = x W_g, (tokens, experts)
    chosen  = k, how many experts read a token
    experts = TopK(h), numbers of experts, (tokens, chosen); one that is as
              large as there are experts stands for nobody
    weights = how much their answers count, (tokens, chosen)

Sources
- Shazeer et al. 2017, "Outrageously Large Neural Networks", arXiv
  1701.06538, eq. 2 and 3 (the sum, the softmax over the chosen).
- Jiang et al. 2024, "Mixtral of Experts", arXiv 2401.04088, §2.1.
"""

from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked
from llmnotes.models.moe.config import MixtralConfig
from llmnotes.precision import wide


class Routing(NamedTuple):
    """Who reads each token, how much each answer counts, and why."""

    experts: Int[Tensor, "tokens chosen"]
    weights: Float[Tensor, "tokens chosen"]
    logits: Float[Tensor, "tokens experts"]

    @property
    def count(self) -> int:
        """How many experts there are."""
        return self.logits.shape[-1]


@checked
def choose(logits: Float[Tensor, "tokens experts"], chosen: int) -> Routing:
    """The largest logits of each row, weighed by a softmax over them alone.

    The same as a softmax over all, of which the largest are kept and divided
    by their sum. In float32 at least.

    Raises `ValueError` unless 1 ≤ chosen ≤ experts.
    """
    check_few(chosen, logits.shape[-1])
    best, experts = wide(logits).topk(chosen, dim=-1)
    return Routing(experts, best.softmax(-1), logits)


def check_few(chosen: int, experts: int) -> None:
    """Raise `ValueError` unless 1 ≤ chosen ≤ experts."""
    check_sizes(chosen=chosen)
    if chosen > experts:
        raise ValueError(
            f"chosen: got {chosen}, expected at most the {experts} experts"
        )


class Router(nn.Module):
    """A row of weights for each expert: a product says how well it suits.

    It hands on choices, not that product, so it is no nn.Linear: nobody may
    add to its answer what is added to a linear layer's.
    """

    def __init__(self, config: MixtralConfig):
        super().__init__()
        width, count = config.hidden_size, config.num_local_experts
        self.weight = nn.Linear(width, count, bias=False).weight
        self.chosen = config.num_experts_per_tok

    def forward(self, x: Float[Tensor, "tokens d_model"]) -> Routing:
        """Choose for each token; see `choose`."""
        return choose(F.linear(x, self.weight), self.chosen)


@contextmanager
def watched(model: nn.Module):
    """What the routers of a model decide meanwhile, layer by layer.

    with watched(model) as routings:
        model(ids)
    """
    found: list[Routing] = []

    def note(router, inputs, routing) -> None:
        found.append(routing)

    hooks = [
        module.register_forward_hook(note)
        for module in model.modules()
        if isinstance(module, Router)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def loads(routing: Routing) -> Int[Tensor, "experts"]:
    """How many tokens each expert was given; who goes to nobody is left out.

    A token counts once for each of its experts.
    """
    numbers = routing.experts.flatten()
    return torch.bincount(numbers, minlength=routing.count)[: routing.count]
