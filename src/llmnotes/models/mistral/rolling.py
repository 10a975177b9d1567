"""A cache that forgets: keys and values of the last W tokens only.

    window = W, places of each layer; the newest token has one of them
    slot   = place of a token in the store, its number modulo W
    places = numbers of the tokens whose keys `extend` hands back

A new token writes over the one that has just left its window. So the store
is no longer in the order of the text, and need not be: attention is a sum
over keys, and a key carries its position in how it was turned. Only a mask
has to know which column is which token.

Sources
- Jiang et al. 2023, "Mistral 7B", arXiv 2310.06825, §2 (rolling buffer
  cache, figure 2; pre-fill and chunking, figure 3).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llmnotes.checks import check_sizes, checked
from llmnotes.models.kv_cache import KVCache


class RollingCache(KVCache):
    """Room for `window` tokens, however many are read.

    One new token is written into its slot, and the store is handed back as
    it lies: nothing is copied. Several come back behind the window - 1 that
    stand before them.

    Raises `ValueError` for a window below 1, for a model that does not ask
    `seen` before it reads beyond the window, and for a cut that would need
    what was overwritten.
    """

    def __init__(self, window: int):
        check_sizes(window=window)
        super().__init__(capacity=window)
        self.asked = 0  # tokens up to which a model knows what is kept

    @property
    def window(self) -> int:
        """How many tokens it holds at most."""
        return self.capacity

    def places(self, new: int) -> Int[Tensor, "kept"]:
        """Which tokens `extend` hands back with so many new ones."""
        start, stop = self.length, self.length + new
        if new > 1:
            return torch.arange(max(0, start - self.window + 1), stop)
        slot = torch.arange(min(stop, self.window))
        return start - (start - slot) % self.window

    def seen(
        self, visible: Bool[Tensor, "... new total"] | None, new: int
    ) -> Bool[Tensor, "... new kept"] | None:
        """The columns of a mask that belong to what `extend` hands back."""
        self.asked = self.length + new
        if visible is None:
            return None
        return visible[..., self.places(new).to(visible.device)]

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
        """Keep the new in the place of the oldest; return what is seen."""
        start, new = self.filled.get(layer, 0), key.shape[2]
        store = self.room(layer, key, start + new)
        both = torch.stack([key, value])
        if new == 1:
            store[..., start % self.window, :] = both[..., 0, :]
            kept = store[..., : start + 1, :]
        else:
            kept = torch.cat([self.before(store, start), both], dim=3)
            self.write(store, both, start + new)
        self.filled[layer] = start + new
        return kept[0], kept[1]

    def before(self, store: Tensor, start: int) -> Tensor:
        """What the first new token sees of the old, in the text's order."""
        old = torch.arange(max(0, start - self.window + 1), start)
        return store[..., (old % self.window).to(store.device), :]

    def write(self, store: Tensor, both: Tensor, stop: int) -> None:
        """Put the last of the new tokens into their slots."""
        last = both[..., -self.window :, :]
        token = torch.arange(stop - last.shape[3], stop)
        store[..., (token % self.window).to(store.device), :] = last

    def check_room(self, stop: int) -> None:
        """Any number fits, if the model knows what it will not see."""
        if stop > max(self.window, self.asked):
            raise ValueError(
                f"past: got a model without a window, expected one that sees "
                f"at most {self.window} tokens, such as Mistral"
            )

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens, if none is lost yet."""
        if self.length > self.window and length != self.length:
            raise ValueError(
                f"length: got {length}, expected {self.length}: what stood "
                f"before the last {self.window} tokens was overwritten"
            )
        super().cut(length)
