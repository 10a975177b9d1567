"""Mistral: a Llama whose tokens look back no further than a window.

    sliding_window = W: a token sees itself and the W-1 before it; None: all
    reach          = how far back a token looks in one layer
    past           = what was read before: any cache, or a `RollingCache`
    segments       = number of the text that each token of a row belongs to

Sources
- Jiang et al. 2023, "Mistral 7B", arXiv 2310.06825, §2.
- Beltagy et al. 2020, "Longformer", arXiv 2004.05150, §3.1 (the window).
- Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination",
  arXiv 2107.02027, §3.2 (the block-diagonal mask).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llmnotes.checks import check_within
from llmnotes.models.kv_cache import KVCache
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.models.llama.model import Turn, check_total
from llmnotes.models.mistral.config import MistralConfig
from llmnotes.models.mistral.rolling import RollingCache
from llmnotes.transformer.attention import (
    block_diagonal_mask,
    causal_mask,
    sliding_window_mask,
)


class Mistral(Llama):
    """Llama with a window; arguments and errors are Llama's.

    A `RollingCache` as `past` keeps what the window still shows.

    Raises `ValueError` also for a config without a window, and for a
    `RollingCache` that holds less than the window.

    Source: Jiang et al. 2023, §2.
    """

    def __init__(self, config: LlamaConfig):
        if not isinstance(config, MistralConfig):
            raise ValueError(
                f"config: got {type(config).__name__}, expected MistralConfig"
            )
        super().__init__(config)

    def reach(
        self, query: int, key: int, device: torch.device
    ) -> Bool[Tensor, "query key"] | None:
        """The last `query` of `key` tokens see W tokens each, a band.

        None where SDPA needs no mask: what is visible fits in the window.
        """
        window = self.config.sliding_window
        if window is None or key <= window:
            return super().reach(query, key, device)
        return sliding_window_mask(query, key, window, device)

    def cache_for(self, tokens: int) -> KVCache:
        """Room for so many tokens, or for a window of them if it is less."""
        window = self.config.sliding_window
        if window is None or tokens <= window:
            return KVCache(tokens)
        return RollingCache(window)

    def through(
        self,
        x: Float[Tensor, "batch length d_model"],
        turn: Turn,
        visible: Bool[Tensor, "... length key"] | None = None,
        past=None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Logits of what was embedded; see `Llama.through`."""
        if isinstance(past, RollingCache):
            check_holds(past, self.config.sliding_window)
            visible = past.seen(visible, x.shape[1])
        return super().through(x, turn, visible, past)


def check_holds(past: RollingCache, window: int | None) -> None:
    """Raise `ValueError` unless a cache holds all that a model sees."""
    if window is None or past.window < window:
        wanted = "no RollingCache" if window is None else f"at least {window}"
        raise ValueError(
            f"past: got a window of {past.window}, expected {wanted}, because "
            f"sliding_window is {window}"
        )


def packed(
    model: Llama, texts: Sequence[Int[Tensor, "..."]]
) -> list[Float[Tensor, "... vocab"]]:
    """Logits of several texts that stand in one row, each as if alone.

    Texts are (length,) of different lengths, logits (length, vocab). No
    column is padding. Positions begin anew with each text, and nobody sees
    another text.

    Raises `ValueError` for no text, an empty one, ids outside the vocabulary
    and a text that is longer than the model can read.

    Source: Krell et al. 2021, §3.2.
    """
    sizes = [len(text) for text in texts]
    if not sizes or not all(sizes):
        raise ValueError(f"texts: got lengths {sizes}, expected at least 1")
    ids = torch.cat(list(texts))
    check_within(0, model.config.vocab_size - 1, texts=ids)
    check_total(max(sizes), model.n_positions, None)
    segments = torch.repeat_interleave(torch.tensor(sizes))[None]
    places = torch.cat([torch.arange(size) for size in sizes])
    visible = together(model, segments.to(ids.device))
    x = model.model.embed_tokens(ids[None])
    turn = model.turn(places.to(ids.device), x.dtype)
    return list(model.through(x, turn, visible)[0].split(sizes))


def together(
    model: Llama, segments: Int[Tensor, "1 length"]
) -> Bool[Tensor, "1 1 length length"]:
    """Who may see whom in a packed row: blocks, and in each a band."""
    length = segments.shape[1]
    back = model.reach(length, length, segments.device)
    if back is None:
        back = causal_mask(length, length, segments.device)
    return block_diagonal_mask(segments) & back
