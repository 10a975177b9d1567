"""Experts on several ranks: tokens travel to their experts and back.

    rank  = a process of torch.distributed; each has its own tokens, and
            N/R of the experts
    sends = rows that go to each rank, and that come from each
    bytes = 2 · rows that leave · d · bytes of a number, forward; as many on
            the way back. Even routing of T tokens: rows = T·k·(R−1)/R

Sources
- Lepikhin et al. 2020, "GShard", arXiv 2006.16668, §3.2 (all-to-all).
- Jiang et al. 2024, "Mixtral of Experts", arXiv 2401.04088, §2.1 (expert
  parallelism).
"""

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_divides
from llmnotes.models.moe.experts import (
    Experts,
    by_expert,
    combined,
    each_its_own,
)
from llmnotes.models.moe.routing import Routing


class Exchange(torch.autograd.Function):
    """Every rank sends some of its rows to every rank; gradients go back."""

    @staticmethod
    def forward(ctx, rows, sends: list[int], receives: list[int]):
        """Rows for rank 0 first; what comes from rank 0 comes first."""
        ctx.ways = receives, sends
        return exchanged(rows, sends, receives)

    @staticmethod
    def backward(ctx, gradient):
        """The same way in the other direction."""
        return exchanged(gradient, *ctx.ways), None, None


def exchanged(rows: Tensor, sends: list[int], receives: list[int]) -> Tensor:
    """One all-to-all."""
    out = rows.new_empty(sum(receives), *rows.shape[1:])
    dist.all_to_all_single(out, rows.contiguous(), receives, sends)
    return out


class RankedExperts(nn.Module):
    """A rank's part of the experts of a layer, called as `Experts`.

    All ranks call it together, each with tokens of its own. The gradients of
    its experts come from the tokens of all ranks.

    Raises `ValueError` unless the ranks divide the experts.
    """

    def __init__(self, experts: Experts):
        super().__init__()
        self.ranks = dist.get_world_size()
        count = len(experts.down_proj)
        check_divides("experts", count, ranks=self.ranks)
        mine = dist.get_rank()
        for name, whole in experts.named_parameters():
            part = whole.detach().chunk(self.ranks)[mine].clone()
            self.register_parameter(name, nn.Parameter(part))

    def forward(
        self, x: Float[Tensor, "tokens d_model"], routing: Routing
    ) -> Float[Tensor, "tokens d_model"]:
        """Ask the experts where they are."""
        order, sizes = by_expert(routing)
        given = torch.tensor(sizes).view(self.ranks, -1)
        asked = exchanged(given, [1] * self.ranks, [1] * self.ranks)
        ways = given.sum(1).tolist(), asked.sum(1).tolist()
        rows = x.index_select(0, order // routing.experts.shape[1])
        answers = self.answer(Exchange.apply(rows, *ways), asked)
        back = Exchange.apply(answers, *reversed(ways))
        return combined(back, order, routing).to(x.dtype)

    def answer(
        self,
        rows: Float[Tensor, "rows d_model"],
        asked: Int[Tensor, "ranks experts"],
    ) -> Float[Tensor, "rows d_model"]:
        """What the experts of this rank say, in the order of the rows."""
        ranks, count = asked.shape
        whose = torch.arange(count).repeat(ranks)
        order = whose.repeat_interleave(asked.flatten()).argsort(stable=True)
        said = each_its_own(
            rows.index_select(0, order),
            asked.sum(0).tolist(),
            self.gate_up_proj,
            self.down_proj,
        )
        return torch.zeros_like(said).index_copy(0, order, said)


def bytes_sent(routing: Routing, ranks: int, rank: int, row: int) -> int:
    """Bytes of rows that leave a rank, one way; `row` is that of one."""
    home = routing.experts // (routing.count // ranks)
    elsewhere = (home != rank) & (routing.experts < routing.count)
    return int(elsewhere.sum()) * row
