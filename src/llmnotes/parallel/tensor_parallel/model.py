"""A GPT whose matrices are split over ranks, from a dense one's weights.

    MLP        Y = gelu(XA + a), Z = YB + c; A by columns, B by rows:
               Y_i = gelu(XA_i + a_i), Z = Σ Y_iB_i + c
    attention  a rank has some of the heads: query, key and value of them
               are columns, and the projection behind them is rows
    ways       = how activations lie between: `Replicated` or `Pieces`

Classes inherit from the dense ones. What differs is which part of the weights
they hold, and what happens on the way in and out.

Sources
- Shoeybi et al. 2019, "Megatron-LM", arXiv 1909.08053, §3.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import (
    check_divides,
    check_length,
    check_within,
    checked,
)
from llmnotes.parallel.tensor_parallel.layouts import (
    Split,
    gradient_norm,
    take,
)
from llmnotes.parallel.tensor_parallel.vocabulary import (
    Embedding,
    cross_entropy,
)
from llmnotes.parallel.tensor_parallel.ways import (
    Replicated,
    bits,
    check_same,
)
from llmnotes.transformer import gpt
from llmnotes.transformer.attention import merge_heads


class Column(nn.Module):
    """XA_i + a_i: a rank has columns of the weight, and of the output.

    `blocks` matrices that stand side by side in the weight are split each.
    """

    def __init__(self, dense: gpt.Conv1D, ways: Replicated, blocks: int = 1):
        super().__init__()
        self.layout = {"weight": Split(1, blocks), "bias": Split(0, blocks)}
        take(self, dense, ways.rank, ways.ranks)

    def forward(
        self, x: Float[Tensor, "batch length input"]
    ) -> Float[Tensor, "batch length part"]:
        """Columns of a rank's own; x has been through `enter`."""
        return F.linear(x, self.weight.T, self.bias)


class Row(nn.Module):
    """Σ Y_iB_i + c: a rank has rows of the weight, and a summand.

    The bias is whole on every rank and is added once, to the sum.
    """

    def __init__(self, dense: gpt.Conv1D, ways: Replicated):
        super().__init__()
        self.ways, self.layout = ways, {"weight": Split(0)}
        take(self, dense, ways.rank, ways.ranks)

    def forward(
        self, y: Float[Tensor, "batch length part"]
    ) -> Float[Tensor, "batch piece output"]:
        """Sum over the ranks, then the bias."""
        z = self.ways.leave(F.linear(y, self.weight.T))
        return z + self.ways.shared(self.bias)


class MLP(gpt.MLP):
    """Σ gelu(XA_i + a_i) B_i + c.

    Raises `ValueError` unless the ranks divide the width between A and B.
    """

    def __init__(self, dense: gpt.MLP, ways: Replicated):
        nn.Module.__init__(self)
        check_divides(
            "the MLP's width", dense.c_fc.weight.shape[1], ranks=ways.ranks
        )
        self.ways = ways
        self.c_fc, self.c_proj = (
            Column(dense.c_fc, ways),
            Row(dense.c_proj, ways),
        )

    def forward(
        self, x: Float[Tensor, "batch piece d_model"]
    ) -> Float[Tensor, "batch piece d_model"]:
        """Widen, bend and narrow, with the columns and rows that are here."""
        return self.c_proj(gpt.gelu(self.c_fc(self.ways.enter(x))))


class Attention(gpt.Attention):
    """Some of the heads, as many on every rank.

    Raises `ValueError` unless the ranks divide the heads.
    """

    def __init__(self, dense: gpt.Attention, ways: Replicated):
        nn.Module.__init__(self)
        check_divides("n_head", dense.heads, ranks=ways.ranks)
        self.heads, self.dropout = dense.heads // ways.ranks, dense.dropout
        self.ways = ways
        self.c_attn = Column(dense.c_attn, ways, blocks=3)
        self.c_proj = Row(dense.c_proj, ways)

    def forward(
        self,
        x: Float[Tensor, "batch piece d_model"],
        visible: Bool[Tensor, "... length total"] | None = None,
        extend=None,
    ) -> Float[Tensor, "batch piece d_model"]:
        """Attend to the present and the past, with the heads that are here."""
        query, key, value = self.split(self.ways.enter(x))
        if extend is not None:
            key, value = extend(key, value)
        with self.ways.inside():
            out = F.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=visible,
                is_causal=visible is None and query.shape[-2] > 1,
                dropout_p=self.dropout if self.training else 0.0,
            )
        return self.c_proj(merge_heads(out))


class LayerNorm(nn.Module):
    """A norm of the tokens that are here; gain and shift are everywhere."""

    def __init__(self, dense: nn.LayerNorm, ways: Replicated):
        super().__init__()
        self.ways, self.layout, self.eps = ways, {}, dense.eps
        take(self, dense, ways.rank, ways.ranks)

    def forward(
        self, x: Float[Tensor, "batch piece d_model"]
    ) -> Float[Tensor, "batch piece d_model"]:
        """Token by token, as the dense one."""
        gain, shift = map(self.ways.shared, (self.weight, self.bias))
        return F.layer_norm(x, x.shape[-1:], gain, shift, self.eps)


class Dropout(nn.Dropout):
    """The same on the same tokens, another on others."""

    def __init__(self, p: float, ways: Replicated):
        super().__init__(p)
        self.ways = ways

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Drop from the activations between the split regions."""
        with self.ways.between():
            return super().forward(x)


class Block(gpt.Block):
    """The dense block's own `forward`, with split parts.

    Raises `ValueError` unless the ranks divide heads and width.
    """

    def __init__(self, dense: gpt.Block, ways: Replicated):
        nn.Module.__init__(self)
        self.ln_1 = LayerNorm(dense.ln_1, ways)
        self.attn = Attention(dense.attn, ways)
        self.ln_2 = LayerNorm(dense.ln_2, ways)
        self.mlp = MLP(dense.mlp, ways)
        self.drop = Dropout(dense.drop.p, ways)


class TensorGPT(nn.Module):
    """A rank's part of a GPT; `model(ids)` are the logits of its own tokens.

    All ranks make it of equal dense models, and call it with equal ids.
    Parameters have the dense model's names: `whole` puts them together.

    Raises `ValueError` for another model than GPT, for weights or ids that
    are not the same on all ranks, for ranks that do not divide heads and
    width or are more than the tokens, and for ids that do not fit; with
    `Pieces` also where ranks do not divide the length.
    """

    def __init__(self, dense: gpt.GPT, ways: Replicated | None = None):
        super().__init__()
        if type(dense) is not gpt.GPT:
            raise ValueError(
                f"dense: got {type(dense).__name__}, expected a GPT"
            )
        self.config, self.ways = dense.config, ways or Replicated()
        check_same("dense", bits(dense), self.ways.group)
        parts, ways = dense.transformer, self.ways
        self.transformer = nn.ModuleDict(
            {
                "wte": Embedding(parts.wte, ways),
                "wpe": Positions(parts.wpe, ways),
                "drop": Dropout(parts.drop.p, ways),
                "h": nn.ModuleList(Block(block, ways) for block in parts.h),
                "ln_f": LayerNorm(parts.ln_f, ways),
            }
        )

    @checked
    def forward(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length part"]:
        """Logits of this rank's tokens, for all positions."""
        check_same("ids", ids, self.ways.group)  # else one raises alone
        check_length("n_positions", self.config.n_positions, ids=ids)
        check_within(0, self.config.vocab_size - 1, ids=ids)
        model = self.transformer
        position = torch.arange(ids.shape[1], device=ids.device)
        x = model.wpe(self.ways.tokens(position, 0)) + model.wte(ids)
        x = model.drop(x)
        for block in model.h:
            x = block(x)
        return F.linear(self.ways.enter(model.ln_f(x)), model.wte.weight)


class Positions(nn.Module):
    """The table of positions, which every rank holds."""

    def __init__(self, dense: nn.Embedding, ways: Replicated):
        super().__init__()
        self.ways, self.layout = ways, {}
        take(self, dense, ways.rank, ways.ranks)

    def forward(
        self, position: Int[Tensor, "piece"]
    ) -> Float[Tensor, "piece d_model"]:
        """Rows of the positions that are here."""
        return F.embedding(position, self.ways.shared(self.weight))


def loss(
    model: TensorGPT,
    inputs: Int[Tensor, "batch length"],
    targets: Int[Tensor, "batch length"],
) -> Float[Tensor, ""]:
    """Mean cross-entropy per token: `train.loss` of the dense model.

    Every rank gets the same number.
    """
    logits, vocab = model(inputs), model.config.vocab_size
    return cross_entropy(logits, targets, vocab, model.ways.group)


def step(
    dense: gpt.GPT,
    inputs: Int[Tensor, "batch length"],
    targets: Int[Tensor, "batch length"],
) -> tuple[float, float]:
    """Loss and gradient norm of a dense model, found by all ranks together."""
    model = TensorGPT(dense)
    found = loss(model, inputs, targets)
    found.backward()
    norm = gradient_norm(model, model.ways.group)
    return found.item(), norm.item()
