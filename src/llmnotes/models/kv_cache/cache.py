"""What was read before: the keys and values of every layer, kept.

    length   = tokens that all layers have read
    capacity = tokens for which there is room
    layer    = number of a layer, 0 … L-1
    key      = keys, (batch, kv_heads, new, head_dim), after their rotation
    value    = values of the same shape

A model that takes a `past` reads `past.length` once and calls
`past.extend(layer, key, value)` in each layer; it gets back the keys and
values of past and new tokens.

Sources
- Pope et al. 2022, "Efficiently Scaling Transformer Inference", arXiv
  2211.05102, §2.1 (the cache and what it weighs).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import check_sizes, checked


class KVCache:
    """Room for `capacity` tokens, taken at once when a layer first speaks.

    A step writes its key and value into place and returns views of what is
    filled: nothing is copied. Past the end it refuses.

    Raises `ValueError` for a capacity below 1, for more tokens than it has
    room for, and for keys and values of another shape than those before.
    """

    def __init__(self, capacity: int):
        check_sizes(capacity=capacity)
        self.capacity = capacity
        self.store: dict[int, Tensor] = {}  # (2, batch, heads, capacity, dim)
        self.filled: dict[int, int] = {}

    @property
    def length(self) -> int:
        """Tokens that every layer has read."""
        return min(self.filled.values(), default=0)

    @property
    def bytes(self) -> int:
        """What is reserved, whether it is filled or not."""
        return sum(x.numel() * x.element_size() for x in self.store.values())

    @checked
    def extend(
        self,
        layer: int,
        key: Float[Tensor, "batch kv_heads new head_dim"],
        value: Float[Tensor, "batch kv_heads new head_dim"],
    ) -> tuple[
        Float[Tensor, "batch kv_heads total head_dim"],
        Float[Tensor, "batch kv_heads total head_dim"],
    ]:
        """Write the new behind the old; return views of both together."""
        start = self.filled.get(layer, 0)
        stop = start + key.shape[2]
        store = self.room(layer, key, stop)
        store[0, :, :, start:stop] = key
        store[1, :, :, start:stop] = value
        self.filled[layer] = stop
        return store[0, :, :, :stop], store[1, :, :, :stop]

    def room(self, layer: int, key: Tensor, stop: int) -> Tensor:
        """Return a layer's store, with room for `stop` tokens."""
        self.check_room(stop)
        if layer not in self.store:
            batch, heads, _, width = key.shape
            shape = 2, batch, heads, self.capacity, width
            self.store[layer] = key.new_zeros(shape)
        store = self.store[layer]
        check_same(store, key)
        return store

    def check_room(self, stop: int) -> None:
        """Raise `ValueError` unless `stop` tokens fit."""
        if stop > self.capacity:
            raise ValueError(
                f"past: got {stop} tokens, expected at most capacity = "
                f"{self.capacity}"
            )

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens; they are overwritten.

        Raises `ValueError` unless 0 ≤ length ≤ what was read.
        """
        check_sizes(0, length=length)
        if length > self.length:
            raise ValueError(
                f"length: got {length}, expected at most the {self.length} "
                "tokens that were read"
            )
        self.filled = dict.fromkeys(self.filled, length)


class GrowingCache(KVCache):
    """Doubles its room whenever it is full, so it never refuses.

    Every key is copied once on average, and up to half of the room is empty.
    """

    def __init__(self, capacity: int = 16):
        super().__init__(capacity)

    def check_room(self, stop: int) -> None:
        """Any number fits."""
        while self.capacity < stop:
            self.capacity *= 2

    def room(self, layer: int, key: Tensor, stop: int) -> Tensor:
        """Return a layer's store, moved to a larger one if need be."""
        store = super().room(layer, key, stop)
        if store.shape[3] < self.capacity:
            more = self.capacity - store.shape[3]
            wider = torch.nn.functional.pad(store, (0, 0, 0, more))
            self.store[layer] = store = wider
        return store


def check_same(store: Tensor, key: Tensor) -> None:
    """Raise `ValueError` unless keys are those of the same batch and heads."""
    _, batch, heads, _, width = store.shape
    expected, got = (batch, heads, width), (*key.shape[:2], key.shape[3])
    if got != expected or key.dtype != store.dtype:
        raise ValueError(
            f"key: got (batch, kv_heads, head_dim) {got} of {key.dtype}, "
            f"expected {expected} of {store.dtype}, as before"
        )


def cache_bytes(
    layers: int, batch: int, kv_heads: int, capacity: int, head_dim: int,
    width: int = 4,
) -> int:  # fmt: skip
    """2 · layers · batch · kv_heads · capacity · head_dim · bytes a number."""
    return 2 * layers * batch * kv_heads * capacity * head_dim * width
