"""A few looks back among recurrent layers: Mamba with attention in places.

    looks = numbers of the layers in which attention takes the mixer's place
    heads = of attention in these layers

A `Look` has no positions: order is known to the recurrences before it. It has
about as many weights as the mixer whose place it takes.

Sources
- Lieber et al. 2024, "Jamba", arXiv 2403.19887, §3.1 and §6.5 (attention in
  one layer of eight, without positions).
"""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked
from llmnotes.models.kv_cache import GrowingCache
from llmnotes.models.llama import LlamaConfig
from llmnotes.models.llama.model import Attention
from llmnotes.models.mamba.config import MambaConfig
from llmnotes.models.mamba.model import Memory, QuickMamba
from llmnotes.transformer.attention import causal_mask


class TwofoldMemory(Memory):
    """States of one size for ever, and keys and values that grow."""

    def __init__(self):
        super().__init__()
        self.cache = GrowingCache()

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept; room that is not filled is none."""
        filled = sum(
            store[..., : self.cache.filled[layer], :].nbytes
            for layer, store in self.cache.store.items()
        )
        return super().nbytes + filled


class Look(nn.Module):
    """Attention without positions, in the place of a mixer."""

    def __init__(self, config: MambaConfig, layer: int, heads: int):
        super().__init__()
        width = config.hidden_size
        shape = LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=width,
            intermediate_size=width,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            head_dim=2 * max(1, round(3 * width / (4 * heads))),
        )
        self.attention = Attention(shape, layer)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        mask: None = None,
        first: None = None,
        past: TwofoldMemory | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        """Attend to the past and to these tokens, as a mixer reads them."""
        new, cache = x.shape[1], None if past is None else past.cache
        read = 0 if past is None else past.length
        visible = None
        if read and new > 1:
            visible = causal_mask(new, read + new, x.device)
        return self.attention(x, unturned, visible, cache)


def unturned(*heads: Tensor) -> tuple[Tensor, ...]:
    """Query, key and value as they are: there are no positions."""
    return heads


class Hybrid(QuickMamba):
    """A Mamba some of whose layers look back instead.

    Raises `ValueError` for looks that are not numbers of different layers.
    """

    def __init__(
        self, config: MambaConfig, looks: Sequence[int], heads: int = 2
    ):
        check_sizes(heads=heads)
        check_layers(looks, config.num_hidden_layers)
        super().__init__(config)
        for layer in looks:
            block = self.backbone.layers[layer]
            block.mixer = Look(config, layer, heads)

    def cache_for(self, tokens: int) -> TwofoldMemory:
        """An empty past for so many tokens."""
        return TwofoldMemory()

    @checked
    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        past: TwofoldMemory | None = None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Return logits; those at position t see tokens 0..t only."""
        return super().forward(ids, past=past)


def check_layers(looks: Sequence[int], layers: int) -> None:
    """Raise `ValueError` unless all are numbers of different layers."""
    for look in looks:
        if not 0 <= look < layers:
            raise ValueError(
                f"looks: got {look}, expected numbers of layers, 0 to "
                f"{layers - 1}"
            )
    if len(set(looks)) < len(looks):
        raise ValueError(
            f"looks: got {tuple(looks)}, expected each layer once"
        )
