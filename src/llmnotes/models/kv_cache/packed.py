"""A Llama's weights laid out for decoding one text, and read by PyTorch.

    qkv     = W_q, W_k and W_v of a layer below each other: one product
    gate_up = W_gate and W_up of a layer likewise
    turns   = e^{imθ}, one complex number for each position and pair
    store   = keys and values of a layer, (2, kv_heads, capacity, head_dim)

A decode step at batch 1 is a few dozen small operations; each costs some
microseconds before it computes anything. So products are joined, results
are added in place, and a pair is turned by one complex product. For that
the rows of W_q and W_k are put in the order where a pair's numbers are
neighbours; both are, so no score changes. Matrices are cut into as many
parts as there are threads: one vector is too little work for PyTorch to
share a product out, while the parts of a batch it does.

Sources
- Su et al. 2021, "RoFormer", arXiv 2104.09864, §3.2 (pairs as complex
  numbers).
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from llmnotes.checks import check_sizes, check_within, checked
from llmnotes.models.kv_cache.generation import check_room
from llmnotes.models.llama import Llama
from llmnotes.transformer.rope import angles_at, interleaved_to_half_split


class Layer(NamedTuple):
    """One block's weights."""

    before: Float[Tensor, "d_model"]  # the gain of the norm before attention
    qkv: Float[Tensor, "rows columns"]
    out: Float[Tensor, "rows columns"]
    between: Float[Tensor, "d_model"]  # the gain before the MLP
    gate_up: Float[Tensor, "rows columns"]
    down: Float[Tensor, "rows columns"]


def layers(model: Llama, *, neighbours: bool) -> list[Layer]:
    """Join what is multiplied by the same vector.

    With `neighbours`, a pair's rows in W_q and W_k lie side by side.

    Raises `ValueError` for a variant, which computes something else.
    """
    if type(model) is not Llama:
        raise ValueError(f"model: got {type(model).__name__}, expected Llama")
    order = torch.arange(model.config.head_dim)
    if neighbours:
        order = interleaved_to_half_split(model.config.head_dim).argsort()
    found = []
    for block in model.model.layers:
        attn, mlp = block.self_attn, block.mlp
        turned = [
            p.weight.unflatten(0, (-1, len(order)))[:, order].flatten(0, 1)
            for p in (attn.q_proj, attn.k_proj)
        ]
        found.append(
            Layer(
                block.input_layernorm.weight,
                torch.cat([*turned, attn.v_proj.weight]),
                attn.o_proj.weight,
                block.post_attention_layernorm.weight,
                torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]),
                mlp.down_proj.weight,
            )
        )
    return [Layer(*(w.detach().contiguous() for w in x)) for x in found]


def shared(matrix: Tensor) -> Float[Tensor, "matrices rows columns"]:
    """Its rows in a part for each thread, as far as they can be divided."""
    parts = math.gcd(len(matrix), torch.get_num_threads())
    return matrix.unflatten(0, (parts, -1)).contiguous()


def product(
    matrix: Float[Tensor, "matrices rows columns"], x: Tensor
) -> Tensor:
    """Each row of x times a matrix, the parts at the same time."""
    columns = x.t().expand(len(matrix), -1, -1)
    return torch.bmm(matrix, columns).flatten(0, 1).t().contiguous()


@checked
def check_one(
    ids: Int[Tensor, "batch length"], new_tokens: int, model: Llama
) -> None:
    """Raise `ValueError` unless this is one text that the model can read."""
    check_sizes(0, new_tokens=new_tokens)
    check_within(0, model.config.vocab_size - 1, ids=ids)
    check_room(model, ids.shape[1], new_tokens)
    if len(ids) != 1:
        raise ValueError(f"ids: got batch {len(ids)}, expected 1")


class Lean:
    """Greedy decoding of one text: `Llama`'s numbers in fewer operations.

    The weights are copied when it is made; it does not see later changes.

    Raises `ValueError` for a subclass of Llama, for another batch than 1 and
    for a text that is longer than the model can read.
    """

    def __init__(self, model: Llama):
        self.model, config = model, model.config
        self.layers = [
            Layer(*(w if w.ndim == 1 else shared(w) for w in layer))
            for layer in layers(model, neighbours=True)
        ]
        self.head = shared(model.head().detach())
        self.shape = config.num_key_value_heads, config.head_dim
        self.eps = config.rms_norm_eps

    @checked
    def generate(
        self, ids: Int[Tensor, "batch length"], new_tokens: int
    ) -> Int[Tensor, "batch longer"]:
        """Continue one text by its likeliest tokens."""
        check_one(ids, new_tokens, self.model)
        text, total = ids, ids.shape[1] + new_tokens
        with torch.inference_mode():
            stores, turns = self.stores(total), self.turns(total)
            new = ids[0]
            for _ in range(new_tokens):
                start = text.shape[1] - len(new)
                new = self.step(new, start, stores, turns).argmax(-1)
                text = torch.cat([text, new[None]], dim=1)
        return text.clone()

    def stores(self, capacity: int) -> list[Tensor]:
        """Room for keys and values of every layer."""
        kv_heads, width = self.shape
        like = self.layers[0].qkv
        shape = 2, kv_heads, capacity, width
        return [like.new_zeros(shape) for _ in self.layers]

    def turns(self, total: int) -> Tensor:
        """e^{imθ} for every position."""
        place = torch.arange(total, device=self.layers[0].qkv.device)
        angle = angles_at(place, self.model.config.frequencies())
        return torch.polar(torch.ones_like(angle), angle)[:, None]

    def step(self, new, start: int, stores, turns) -> Tensor:
        """Logits behind the last of the new tokens."""
        model, stop = self.model.model, start + len(new)
        x = F.embedding(new, model.embed_tokens.weight)
        size = model.norm.weight.shape
        for layer, store in zip(self.layers, stores, strict=True):
            y = F.rms_norm(x, size, layer.before, self.eps)
            turn = turns[start:stop]
            qkv = product(layer.qkv, y)
            x += product(layer.out, self.attend(qkv, store, turn, start, stop))
            y = F.rms_norm(x, size, layer.between, self.eps)
            gate, up = product(layer.gate_up, y).chunk(2, dim=-1)
            x += product(layer.down, F.silu(gate).mul_(up))
        last = F.rms_norm(x[-1:], size, model.norm.weight, self.eps)
        return product(self.head, last)

    def attend(self, qkv, store, turns, start: int, stop: int) -> Tensor:
        """Turn, write into the store, and look at all of it."""
        kv_heads, width = self.shape
        heads = qkv.view(len(qkv), -1, width)
        pairs = heads[:, :-kv_heads].unflatten(-1, (-1, 2))
        torch.view_as_complex(pairs).mul_(turns)
        query = heads[:, : -2 * kv_heads].transpose(0, 1)
        kept = heads[:, -2 * kv_heads :].unflatten(1, (2, kv_heads))
        store[:, :, start:stop] = kept.permute(1, 2, 0, 3)
        key, value = store[:, None, :, :stop]
        if start:  # one new token: the queries of a group are its rows
            rows = query.reshape(1, kv_heads, -1, width)
            out = F.scaled_dot_product_attention(rows, key, value)
            return out.reshape(1, -1)
        out = F.scaled_dot_product_attention(
            query[None], key, value, is_causal=True, enable_gqa=True
        )
        return out[0].transpose(0, 1).flatten(1)
