"""What the experts compute, in two ways that give the same.

    gate_up = W_gate on top of W_up of every expert, (experts, 2·d_ff, d)
    down    = W_down of every expert, (experts, d, d_ff)
    E_i(x)  = (silu(x W_gate) ∘ x W_up) W_down, Llama's SwiGLU
    y       = Σ_i w_i E_i(x) over the experts that were chosen

Both tensors are as Hugging Face holds them in memory; on disk each expert
has three matrices of its own, see `files`.

Sources
- Jiang et al. 2024, "Mixtral of Experts", arXiv 2401.04088, §2.1.
- Gale et al. 2022, "MegaBlocks", arXiv 2211.15841, §3 (no token is dropped:
  group by expert, then multiply blocks).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.models.moe.config import MixtralConfig
from llmnotes.models.moe.routing import Routing, loads


def expert(
    x: Float[Tensor, "rows d_model"],
    gate_up: Float[Tensor, "twice d_model"],
    down: Float[Tensor, "d_model inner"],
) -> Float[Tensor, "rows d_model"]:
    """SwiGLU, with its first two matrices in one."""
    gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
    return F.linear(F.silu(gate) * up, down)


def by_definition(
    x: Float[Tensor, "tokens d_model"],
    routing: Routing,
    gate_up: Float[Tensor, "experts twice d_model"],
    down: Float[Tensor, "experts d_model inner"],
) -> Float[Tensor, "tokens d_model"]:
    """Σ_i w_i E_i(x) as it is written: all experts read all tokens.

    Whoever was not chosen counts 0, so N/k times too much is computed.
    """
    out = torch.zeros_like(x)
    for i in range(len(gate_up)):
        mine = routing.weights * (routing.experts == i)
        answer = expert(x, gate_up[i], down[i])
        out = out + (mine.sum(-1, keepdim=True) * answer).to(x.dtype)
    return out


def grouped(
    x: Float[Tensor, "tokens d_model"],
    routing: Routing,
    gate_up: Float[Tensor, "experts twice d_model"],
    down: Float[Tensor, "experts d_model inner"],
) -> Float[Tensor, "tokens d_model"]:
    """The same, each expert on its own tokens only."""
    order, sizes = by_expert(routing)
    rows = x.index_select(0, order // routing.experts.shape[1])
    answers = each_its_own(rows, sizes, gate_up, down)
    return combined(answers, order, routing).to(x.dtype)


def by_expert(routing: Routing) -> tuple[Int[Tensor, "rows"], list[int]]:
    """Choices in the order of their experts, and how many each expert has.

    Choice c is that of token c // chosen. Those of nobody are left out.
    """
    order = routing.experts.flatten().argsort(stable=True)
    sizes = loads(routing).tolist()
    return order[: sum(sizes)], sizes


def each_its_own(
    rows: Float[Tensor, "rows d_model"],
    sizes: list[int],
    gate_up: Float[Tensor, "experts twice d_model"],
    down: Float[Tensor, "experts d_model inner"],
) -> Float[Tensor, "rows d_model"]:
    """The first sizes[0] rows are the first expert's, and so on."""
    # unbind: the gradient of gate_up[i] would be a whole gate_up of zeros.
    each = zip(rows.split(sizes), gate_up.unbind(), down.unbind(), strict=True)
    return torch.cat([expert(*its) for its in each])


def combined(
    answers: Float[Tensor, "rows d_model"],
    order: Int[Tensor, "rows"],
    routing: Routing,
) -> Float[Tensor, "tokens d_model"]:
    """Every answer back to its token, weighed and added up."""
    tokens, chosen = routing.weights.shape
    back = answers.new_zeros(tokens * chosen, answers.shape[-1])
    back = back.index_copy(0, order, answers)
    back = back.view(tokens, chosen, -1)
    return (routing.weights[..., None] * back).sum(1)


class Experts(nn.Module):
    """The matrices of all experts of a layer."""

    def __init__(self, config: MixtralConfig):
        super().__init__()
        count, width = config.num_local_experts, config.hidden_size
        inner = config.intermediate_size
        self.chosen = config.num_experts_per_tok
        self.gate_up_proj = matrices(count, 2 * inner, width)
        self.down_proj = matrices(count, width, inner)

    def forward(
        self, x: Float[Tensor, "tokens d_model"], routing: Routing
    ) -> Float[Tensor, "tokens d_model"]:
        """See `grouped`."""
        return grouped(x, routing, self.gate_up_proj, self.down_proj)


def matrices(count: int, rows: int, columns: int) -> nn.Parameter:
    """As many matrices, from the distribution of `nn.Linear`."""
    bound = 1 / math.sqrt(columns)
    empty = torch.empty(count, rows, columns)
    return nn.Parameter(nn.init.uniform_(empty, -bound, bound))
