"""Attention sinks: a window that also keeps the first tokens.

    sinks  = how many of the first tokens are never forgotten
    recent = how many of the last ones are kept behind them
    place  = number of a key within the cache, counted from its oldest

Keys are kept as they were projected and turned anew in each step, by their
places: so no position is ever larger than the cache, however long the text.

Sources
- Xiao et al. 2023, "Efficient Streaming Language Models with Attention
  Sinks" (StreamingLLM), arXiv 2309.17453, §3.2 and figure 4.
"""

import sys
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llmnotes.checks import check_sizes, checked
from llmnotes.models.kv_cache import KVCache
from llmnotes.models.llama import Attention, Block, Llama
from llmnotes.transformer.attention import merge_heads
from llmnotes.transformer.rope import rotate


class SinkCache(KVCache):
    """Room for the first `sinks` tokens and the last `recent` ones.

    Raises `ValueError` for sizes that cannot be, and for several tokens at
    once when they do not all fit: each of them sees other places.
    """

    def __init__(self, sinks: int, recent: int):
        check_sizes(0, sinks=sinks)
        check_sizes(recent=recent)
        super().__init__(sinks + recent)
        self.sinks, self.recent = sinks, recent

    def slots(self, token: Int[Tensor, "tokens"]) -> Int[Tensor, "tokens"]:
        """Where tokens are written: the first stay, the others take turns."""
        rolled = self.sinks + (token - self.sinks) % self.recent
        return torch.where(token < self.sinks, token, rolled)

    def places(self, stop: int) -> Int[Tensor, "kept"]:
        """The place of each slot once `stop` tokens are read."""
        kept = torch.arange(min(stop, self.sinks))
        first = max(self.sinks, stop - self.recent)
        tokens = torch.cat([kept, torch.arange(min(first, stop), stop)])
        return self.slots(tokens).argsort()

    @checked
    def extend(
        self,
        layer: int,
        key: Float[Tensor, "batch kv_heads new head_dim"],
        value: Float[Tensor, "batch kv_heads new head_dim"],
    ) -> tuple[
        Float[Tensor, "batch kv_heads kept head_dim"],
        Float[Tensor, "batch kv_heads kept head_dim"],
    ]:
        """Write into the slots; return what is kept, as it lies."""
        start, new = self.filled.get(layer, 0), key.shape[2]
        stop = start + new
        if new > 1 and stop > self.capacity:
            raise ValueError(
                f"past: got {new} tokens at once behind {start}, expected one "
                f"after the other where more than {self.capacity} are read"
            )
        store = self.room(layer, key, min(stop, self.capacity))
        slots = self.slots(torch.arange(start, stop)).to(store.device)
        store[..., slots, :] = torch.stack([key, value])
        self.filled[layer] = stop
        return tuple(store[..., : min(stop, self.capacity), :])

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens, if none is lost yet."""
        if self.length > self.capacity and length != self.length:
            raise ValueError(
                f"length: got {length}, expected {self.length}: tokens before "
                "the last ones were overwritten"
            )
        super().cut(length)


class PlacedAttention(Attention):
    """Attention that turns keys by their places in the cache."""

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        turn,
        visible: Bool[Tensor, "... length key"] | None = None,
        past=None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Keep first, turn then; `turn` makes a turn for given places."""
        query, key, value = self.split(x)
        places = torch.arange(x.shape[1])
        if past is not None:
            key, value = past.extend(self.layer, key, value)
            places = past.places(past.filled[self.layer])
        newest = places.sort().values[-x.shape[1] :]
        query = rotate(query, turn(newest.to(x.device)).angles)
        key = rotate(key, turn(places.to(x.device)).angles)
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible,
            is_causal=visible is None and x.shape[1] > 1,
            enable_gqa=self.kv_heads < self.heads,
        )  # fmt: skip
        return self.o_proj(merge_heads(out))


class PlacedBlock(Block):
    """Llama's block with that attention."""

    attention = PlacedAttention


class Streaming(Llama):
    """A Llama that reads without end, with a `SinkCache` as its `past`.

    Its weights are those of any Llama or Mistral. It takes no mask; until
    the cache is full it computes what Llama computes.

    Raises `ValueError` for a mask, for another kind of past, and for more
    tokens at once than max_position_embeddings.

    Source: Xiao et al. 2023, §3.2.
    """

    block = PlacedBlock

    @property
    def n_positions(self) -> int:
        """There is no longest text."""
        return sys.maxsize

    def turn(self, positions, dtype: torch.dtype):
        """What turns by places that only the cache knows."""
        return partial(super().turn, dtype=dtype)

    def visible(self, query, key, mask, device):
        """Everything that is kept, up to oneself."""
        if mask is not None:
            raise ValueError(
                "mask: got one, expected none: texts of a batch that read "
                "without end are equally long"
            )
        return self.reach(query, key, device)

    def through(self, x, turn, visible=None, past=None):
        """Logits of what was embedded; see `Llama.through`."""
        check_places(past, x.shape[1], self.config.max_position_embeddings)
        return super().through(x, turn, visible, past)


def check_places(past, new: int, longest: int) -> None:
    """Raise `ValueError` unless all places are such as were trained."""
    if past is None:
        got, room = f"none and {new} tokens", new
    elif isinstance(past, SinkCache):
        got, room = f"room for {past.capacity} tokens", past.capacity
    else:
        raise ValueError(
            f"past: got {type(past).__name__}, expected a SinkCache"
        )
    if room > longest:
        raise ValueError(
            f"past: got {got}, expected at most "
            f"max_position_embeddings = {longest}"
        )
