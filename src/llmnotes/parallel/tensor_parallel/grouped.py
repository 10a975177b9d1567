"""Llama's attention over ranks, also where keys are fewer than ranks.

    heads, kv_heads = of queries, and of keys and values; kv_heads ≤ heads
    copies          = ranks that hold the same key head: t / kv_heads

As long as the ranks divide `kv_heads`, each has its own. With fewer of them
than ranks, neighbours hold the same, and use it for different queries: what
they find for its gradient are summands, and f adds them up among them.

Sources
- Ainslie et al. 2023, "GQA", arXiv 2305.13245, §2.2.
- Shoeybi et al. 2019, "Megatron-LM", arXiv 1909.08053, §3.
"""

import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from llmnotes.checks import check_divides
from llmnotes.models import llama
from llmnotes.parallel.tensor_parallel.layouts import (
    Repeated,
    Split,
    take,
)
from llmnotes.parallel.tensor_parallel.operators import copied
from llmnotes.parallel.tensor_parallel.ways import Replicated
from llmnotes.transformer.attention import merge_heads


class Linear(nn.Module):
    """Rows of an `nn.Linear`'s weight, which are columns of its formula.

    With `sharers`, a group of ranks that hold the same rows.
    """

    def __init__(self, dense: nn.Linear, layout, ways, sharers=None):
        super().__init__()
        self.layout, self.sharers = {"weight": layout}, sharers
        take(self, dense, ways.rank, ways.ranks)

    def forward(
        self, x: Float[Tensor, "batch length input"]
    ) -> Float[Tensor, "batch length part"]:
        """Without a bias, as in Llama."""
        shares = self.sharers is not None
        weight = copied(self.weight, self.sharers) if shares else self.weight
        return F.linear(x, weight)


class Out(Linear):
    """Columns of an `nn.Linear`'s weight; a summand leaves the region."""

    def __init__(self, dense: nn.Linear, ways: Replicated):
        super().__init__(dense, Split(1), ways)
        self.ways = ways

    def forward(
        self, x: Float[Tensor, "batch length part"]
    ) -> Float[Tensor, "batch piece output"]:
        """Sum over the ranks."""
        return self.ways.leave(super().forward(x))


class GroupedAttention(llama.Attention):
    """Some of the heads of queries, and the keys that they share.

    All ranks make it together. Raises `ValueError` unless the ranks divide
    the query heads, and divide `num_key_value_heads` or are a multiple.
    """

    def __init__(self, dense: llama.Attention, ways: Replicated):
        nn.Module.__init__(self)
        self.ways, self.layer = ways, dense.layer
        heads, kv, ranks = dense.heads, dense.kv_heads, ways.ranks
        check_divides("num_attention_heads", heads, ranks=ranks)
        if kv % ranks and ranks % kv:
            raise ValueError(
                f"ranks: got {ranks}, expected a divisor or a multiple of "
                f"num_key_value_heads = {kv}"
            )
        self.heads, self.kv_heads = heads // ranks, max(1, kv // ranks)
        cut = Split(0) if kv % ranks == 0 else Repeated(0, kv)
        sharers = sharing(ways, cut.copies(ranks))
        self.q_proj = Linear(dense.q_proj, Split(0), ways)
        self.k_proj = Linear(dense.k_proj, cut, ways, sharers)
        self.v_proj = Linear(dense.v_proj, cut, ways, sharers)
        self.o_proj = Out(dense.o_proj, ways)

    def forward(
        self,
        x: Float[Tensor, "batch piece d_model"],
        turn,
        visible: Bool[Tensor, "... length key"] | None = None,
        past=None,
    ) -> Float[Tensor, "batch piece d_model"]:
        """Attend to what is visible, with the heads that are here."""
        query, key, value = turn(*self.split(self.ways.enter(x)))
        if past is not None:
            key, value = past.extend(self.layer, key, value)
        out = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=visible,
            is_causal=visible is None and query.shape[-2] > 1,
            enable_gqa=self.kv_heads < self.heads,
        )
        return self.o_proj(merge_heads(out))


def sharing(ways: Replicated, copies: int) -> dist.ProcessGroup | None:
    """The group of this rank and those that hold the same keys."""
    if copies == 1:
        return None
    ranks = (
        range(ways.ranks)
        if ways.group is None
        else (dist.get_process_group_ranks(ways.group))
    )
    first = ways.rank // copies * copies
    return dist.new_group(
        list(ranks)[first : first + copies], use_local_synchronization=True
    )
