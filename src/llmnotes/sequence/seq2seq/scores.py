r"""How well a query fits each key, and the mean that comes of it.

    values            = h_1 … h_T  (the encoder's outputs, one per position)
    query, keys       = s, and what it is compared with, made from h
    scores            = e_ij  (how well query i fits key j)
    weights           = α_ij = softmax over j of e_ij
    context           = c_i = Σ_j α_ij h_j
    w_q, w_k, v       = Bahdanau's W_a, U_a, v_a;  w_k alone: Luong's W_a

Sources
- Bahdanau, Cho & Bengio 2014, "Neural Machine Translation by Jointly
  Learning to Align and Translate", arXiv 1409.0473.
- Luong, Pham & Manning 2015, "Effective Approaches to Attention-based
  Neural Machine Translation", arXiv 1508.04025.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from llmnotes.precision import wide


def dot_scores(
    query: Float[Tensor, "batch query width"],
    keys: Float[Tensor, "batch key width"],
) -> Float[Tensor, "batch query key"]:
    """e_ij = q_i · k_j (Luong et al. 2015)."""
    return wide(query) @ wide(keys).transpose(1, 2)


def additive_scores(
    query: Float[Tensor, "batch query width"],
    keys: Float[Tensor, "batch key width"],
    v: Float[Tensor, "width"],
) -> Float[Tensor, "batch query key"]:
    """e_ij = v · tanh(q_i + k_j): a network with one hidden layer.

    Source: Bahdanau et al. 2014.
    """
    return wide(torch.tanh(query[:, :, None] + keys[:, None])) @ wide(v)


def mix(
    scores: Float[Tensor, "batch query key"],
    values: Float[Tensor, "batch key width"],
    seen: Bool[Tensor, "batch key"],
) -> tuple[
    Float[Tensor, "batch query width"], Float[Tensor, "batch query key"]
]:
    """Turn scores into weights that sum to 1 and return c = αh, and α.

    Padding, where `seen` is False, gets no weight, and what stands there
    reaches nothing: 0 · NaN is NaN, so it is taken out. A source that is
    all padding leaves a context of zeros.
    """
    hidden = ~seen[:, None]
    scores = wide(scores).masked_fill(hidden, -torch.inf)
    scores = scores.masked_fill(hidden.all(-1, keepdim=True), 0)
    weights = scores.softmax(-1).masked_fill(hidden, 0)
    clean = wide(values.masked_fill(~seen[..., None], 0))
    return (weights @ clean).to(values.dtype), weights


class DotAttention(nn.Module):
    """Luong's "dot": the encoder's outputs are the keys as they are.

    Source: Luong et al. 2015.
    """

    def keys(
        self, values: Float[Tensor, "batch key hidden"]
    ) -> Float[Tensor, "batch key width"]:
        """What queries are compared with; computed once per source."""
        return values

    def scores(
        self,
        query: Float[Tensor, "batch query hidden"],
        keys: Float[Tensor, "batch key width"],
    ) -> Float[Tensor, "batch query key"]:
        """e_ij for all pairs."""
        return dot_scores(query, keys)


class GeneralAttention(DotAttention):
    """Luong's "general": e_ij = s_iᵀ W_a h_j, a dot with learned keys.

    Source: Luong et al. 2015.
    """

    def __init__(self, hidden_size: int):
        super().__init__()
        self.w_k = nn.Linear(hidden_size, hidden_size, bias=False)

    def keys(
        self, values: Float[Tensor, "batch key hidden"]
    ) -> Float[Tensor, "batch key width"]:
        """k_j = W_a h_j."""
        return self.w_k(values)


class AdditiveAttention(nn.Module):
    """Bahdanau's: e_ij = v_a · tanh(W_a s_i + U_a h_j).

    Source: Bahdanau et al. 2014.
    """

    def __init__(self, hidden_size: int, width: int | None = None):
        super().__init__()
        width = hidden_size if width is None else width
        self.w_q = nn.Linear(hidden_size, width, bias=False)
        self.w_k = nn.Linear(hidden_size, width)
        self.v = nn.Parameter(torch.randn(width) / math.sqrt(width))

    def keys(
        self, values: Float[Tensor, "batch key hidden"]
    ) -> Float[Tensor, "batch key width"]:
        """U_a h_j (+ b), which does not depend on i.

        Source: Bahdanau et al. 2014, A.1.2.
        """
        return self.w_k(values)

    def scores(
        self,
        query: Float[Tensor, "batch query hidden"],
        keys: Float[Tensor, "batch key width"],
    ) -> Float[Tensor, "batch query key"]:
        """e_ij for all pairs."""
        return additive_scores(self.w_q(query), keys, self.v)
