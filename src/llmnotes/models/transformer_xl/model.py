r"""Transformer-XL: a decoder that reads segment after segment, and remembers.

    ids       = tokens of a segment, (batch, length)
    memory    = what the segments before left, see `Memory`
    d_inner   = width of the MLP       clamp_len = lags beyond it are alike
    R         = `lag_codes`, the same for all layers and heads
    W_q, W_kE, W_v, W_kR = q_proj, k_proj, v_proj, r_proj: no biases
    u, v      = shared by all layers, one vector for each head

Sources
- Dai et al. 2019, "Transformer-XL", arXiv 1901.02860, §3.2 and §3.3.
"""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import (
    check_divides,
    check_sizes,
    check_within,
    checked,
)
from llmnotes.models.transformer_xl.memory import Memory, check_memory
from llmnotes.models.transformer_xl.relative import (
    lag_codes,
    relative_attention,
)
from llmnotes.transformer.attention import (
    causal_mask,
    merge_heads,
    sliding_window_mask,
    split_heads,
)
from llmnotes.transformer.positions import check_even


@dataclass(frozen=True)
class TransformerXLConfig:
    """The shape of a Transformer-XL, under Hugging Face's old names.

    Raises `ValueError` naming the field that cannot be.
    """

    vocab_size: int
    d_model: int
    n_head: int
    d_inner: int
    n_layer: int
    clamp_len: int | None = None

    def __post_init__(self):
        for field in fields(self)[:5]:
            check_sizes(**{field.name: getattr(self, field.name)})
        check_even("d_model", self.d_model)
        check_divides("d_model", self.d_model, n_head=self.n_head)
        if self.clamp_len is not None:
            check_sizes(clamp_len=self.clamp_len)


class RelativeAttention(nn.Module):
    """From a segment to itself and what stands before it."""

    def __init__(self, config: TransformerXLConfig):
        super().__init__()
        width, self.heads = config.d_model, config.n_head
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.r_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch query d_model"],
        context: Float[Tensor, "batch key d_model"],
        codes: Float[Tensor, "key d_model"],
        u: Float[Tensor, "heads head_dim"],
        v: Float[Tensor, "heads head_dim"],
        visible: Bool[Tensor, "... query key"],
    ) -> Float[Tensor, "batch query d_model"]:
        """Attend from x to `context`, memory and x one behind the other."""
        query = split_heads(self.q_proj(x), self.heads)
        key = split_heads(self.k_proj(context), self.heads)
        value = split_heads(self.v_proj(context), self.heads)
        places = split_heads(self.r_proj(codes)[None], self.heads)[0]
        heads = relative_attention(query, key, value, places, u, v, visible)
        return self.o_proj(merge_heads(heads))


class Layer(nn.Module):
    """norm(x + attention), then norm(x + MLP): the order of 2017."""

    def __init__(self, config: TransformerXLConfig):
        super().__init__()
        self.attn = RelativeAttention(config)
        self.norm_1 = nn.LayerNorm(config.d_model)
        self.up = nn.Linear(config.d_model, config.d_inner)
        self.down = nn.Linear(config.d_inner, config.d_model)
        self.norm_2 = nn.LayerNorm(config.d_model)

    def forward(
        self,
        x: Float[Tensor, "batch query d_model"],
        past: Float[Tensor, "batch kept d_model"],
        *places: Tensor,
    ) -> Float[Tensor, "batch query d_model"]:
        """`places`: the codes, u, v and who may see whom."""
        context = torch.cat([past, x], dim=1)
        x = self.norm_1(x + self.attn(x, context, *places))
        return self.norm_2(x + self.down(F.relu(self.up(x))))


class TransformerXL(nn.Module):
    """Predict the next token from the segment and the memory.

    A query sees its segment up to itself, and the whole memory.

    Source: Dai et al. 2019, §3.
    """

    def __init__(self, config: TransformerXLConfig):
        super().__init__()
        self.config = config
        width, heads = config.d_model, config.n_head
        self.embed = nn.Embedding(config.vocab_size, width)
        self.layers = nn.ModuleList(
            Layer(config) for _ in range(config.n_layer)
        )
        self.u = nn.Parameter(torch.empty(heads, width // heads))
        self.v = nn.Parameter(torch.empty(heads, width // heads))
        self.head = nn.Linear(width, config.vocab_size)
        self.start()

    @torch.no_grad()
    def start(self) -> None:
        """Matrices, u and v normal with deviation 0.02, biases 0."""
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def seen(
        self, query: int, key: int, device: torch.device
    ) -> Bool[Tensor, "query key"]:
        """Who may see whom, were every row full."""
        return causal_mask(query, key, device)

    @checked
    def forward(
        self, ids: Int[Tensor, "batch length"], memory: Memory | None = None
    ) -> Float[Tensor, "batch length vocab"]:
        """Logits of the next tokens; a memory is read, then written.

        Raises `ValueError` for ids beyond the vocabulary and for a memory
        of other rows or of another model, and leaves it as it was.
        """
        check_within(0, self.config.vocab_size - 1, ids=ids)
        memory = Memory(0) if memory is None else memory
        check_memory(memory)
        x = self.embed(ids) * math.sqrt(self.config.d_model)
        old = memory.recall(len(self.layers), x)
        places = self.places(memory, x)
        inputs = []
        for layer, past in zip(self.layers, old, strict=True):
            inputs.append(x)
            x = layer(x, past, *places)
        logits = self.head(x)
        memory.keep(inputs)  # last: what fails may be read once more
        return logits

    def places(self, memory: Memory, x: Tensor) -> tuple[Tensor, ...]:
        """What every layer needs to know of places and who may see whom."""
        query, key = x.shape[1], memory.length + x.shape[1]
        seen = memory.visible(self.seen(query, key, x.device))
        codes = lag_codes(
            key, x.shape[-1], clamp_len=self.config.clamp_len, dtype=x.dtype
        )
        return codes.to(x.device), self.u, self.v, seen


class SameLength(TransformerXL):
    """Every query sees `window` keys, wherever in the segment it stands.

    With a memory of at least window - 1 tokens its logits do not depend on
    how a text is cut. (The `same_length` of the authors' code sees mem_len
    keys, oneself among them.)
    """

    def __init__(self, config: TransformerXLConfig, window: int):
        super().__init__(config)
        check_sizes(window=window)
        self.window = window

    def seen(
        self, query: int, key: int, device: torch.device
    ) -> Bool[Tensor, "query key"]:
        """The last `window` keys up to the query's own."""
        return sliding_window_mask(query, key, self.window, device)
