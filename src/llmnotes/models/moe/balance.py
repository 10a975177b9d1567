"""Keeping all experts busy: by a loss, or by a bias on the choice.

    f_i  = share of the choices that fell on expert i, sums to 1
    P_i  = mean probability of expert i, sums to 1
    loss = N Σ_i f_i P_i: 1 where all is even, N where one expert has all
    z    = mean of (log Σ_i exp h_i)², which keeps logits small
    mask = which tokens count; without it, all
    bias = b_i, added to scores for the choice only

f is counted and has no gradient; P has one, and f says where it pushes.

Sources
- Fedus, Zoph and Shazeer 2021, "Switch Transformers", arXiv 2101.03961,
  eq. 4 to 6.
- Zoph et al. 2022, "ST-MoE", arXiv 2202.08906, eq. 5 (the z-loss).
- Wang et al. 2024, "Auxiliary-Loss-Free Load Balancing Strategy for
  Mixture-of-Experts", arXiv 2408.15664, algorithm 1.
- DeepSeek-AI 2024, "DeepSeek-V3", arXiv 2412.19437, eq. 13 to 16.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes import train
from llmnotes.models.moe.config import MixtralConfig
from llmnotes.models.moe.routing import Router, Routing, loads, watched
from llmnotes.precision import wide


def balancing_loss(
    routing: Routing, mask: Bool[Tensor, "tokens"] | None = None
) -> Float[Tensor, ""]:
    """N Σ_i f_i P_i of one layer, as its router decided.

    What then finds no room at an expert counts as well, as in the paper.

    Source: Fedus et al. 2021, eq. 4 to 6.
    """
    routing = real(routing, mask)
    chances = wide(routing.logits).softmax(-1)
    shares = loads(routing) / routing.experts.numel()
    return routing.count * (shares * chances.mean(0)).sum()


def z_loss(
    routing: Routing, mask: Bool[Tensor, "tokens"] | None = None
) -> Float[Tensor, ""]:
    """Mean square of the logsumexp of one layer's logits.

    Source: Zoph et al. 2022, eq. 5.
    """
    logits = wide(real(routing, mask).logits)
    return logits.logsumexp(-1).square().mean()


def real(routing: Routing, mask: Tensor | None) -> Routing:
    """The routing of the tokens that count."""
    return routing if mask is None else Routing(*(x[mask] for x in routing))


@dataclass(frozen=True, eq=False)
class Balanced(train.LanguageModelling):
    """Predict the next token, and keep the experts of a Mixtral busy.

    The loss is what Hugging Face's would be with `output_router_logits`, but
    that each layer is balanced by itself: router_aux_loss_coef times k times
    the mean of the layers' balancing losses comes on top of the
    cross-entropy. Evaluations are without it.

    Raises `ValueError` for a config that compiles: routers are watched by
    hooks, which a compiled model may pass over.
    """

    def __post_init__(self):
        super().__post_init__()
        if self.config.compile:
            raise ValueError(
                "compile: got True, expected False: a mixture's routers are "
                "watched while it trains"
            )

    def loss(self, model: nn.Module, batch: tuple) -> Float[Tensor, ""]:
        """Cross-entropy and what imbalance costs."""
        with watched(model) as routings:
            found = super().loss(model, batch)
        return found + penalty(model.config, routings)

    def facts(self) -> dict:
        """As for any text; a run without a balancing loss is another one."""
        return {**super().facts(), "task": type(self).__name__}


def penalty(
    config: MixtralConfig, routings: list[Routing]
) -> Float[Tensor, ""]:
    """What the imbalance of these layers costs."""
    mean = torch.stack([balancing_loss(r) for r in routings]).mean()
    return config.router_aux_loss_coef * config.num_experts_per_tok * mean


class BiasedRouter(Router):
    """Scores by a sigmoid, and a bias that has a say in the choice only.

    The bias learns by no gradient: `adjust` moves it, after each step.

    Source: DeepSeek-AI 2024, eq. 13 to 16.
    """

    def __init__(self, config: MixtralConfig):
        super().__init__(config)
        self.register_buffer("lift", torch.zeros(len(self.weight)))

    def forward(self, x: Float[Tensor, "tokens d_model"]) -> Routing:
        """Choose by score and bias, weigh by the score alone."""
        logits = nn.functional.linear(x, self.weight)
        scores = wide(logits).sigmoid()
        experts = (scores + self.lift).topk(self.chosen, dim=-1).indices
        weights = scores.gather(-1, experts)
        return Routing(
            experts, weights / weights.sum(-1, keepdim=True), logits
        )

    @torch.no_grad()
    def adjust(
        self, counts: Int[Tensor, "experts"], rate: float = 0.001
    ) -> None:
        """Lift who had less than the mean of the tokens, lower who had more.

        Source: Wang et al. 2024, algorithm 1.
        """
        self.lift += rate * (counts.double().mean() - counts).sign()
