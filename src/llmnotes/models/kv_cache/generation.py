"""Writing on with a cache: each token is read once, alone or in a batch.

    ids        = prompts, (batch, length), padded on the left
    lengths    = tokens of each row that are real, the last ones
    new_tokens = how many to write at most
    past       = what was read before, a cache; its tokens are the first of ids
    chunk      = how many tokens of a prompt are read at once; None: all
    stop       = a token, or several in a row, that end a text

Prefill reads the prompt, all its tokens in one product; decode reads the one
token that was just written. A model whose forward has no `past` reads the
whole text for every token, and writes the same. Where a model knows a better
cache than `KVCache` for so many tokens, `cache_for(tokens)` makes it.

Sources
- Pope et al. 2022, "Efficiently Scaling Transformer Inference", arXiv
  2211.05102, §2 (prefill and decode).
- Agrawal et al. 2023, "SARATHI", arXiv 2308.16369, §4.1 (chunked prefill).
"""

import inspect
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, check_within, checked
from llmnotes.models.kv_cache.cache import KVCache
from llmnotes.modes import evaluating
from llmnotes.transformer.gpt.sampling import (
    OPTIONS,
    check_logits,
    check_options,
    next_distribution,
    stop_ids,
)


@checked
def generate(
    model: nn.Module,
    ids: Int[Tensor, "batch length"],
    new_tokens: int,
    *,
    lengths: Int[Tensor, "batch"] | None = None,
    stop: int | Sequence | None = None,
    generator: torch.Generator | None = None,
    past=None,
    chunk: int | None = None,
    **options,
) -> Int[Tensor, "batch longer"]:
    """Continue `ids` by `new_tokens`; `options` as `next_distribution`.

    Row b's prompt are its last lengths[b] ids; what stands before is padding
    and is handed back as it came. A row in which `stop` was written repeats
    its last id, and the whole ends when all rows have ended. The model is
    in evaluation mode meanwhile; ids may lie on another device than it.

    Raises `ValueError` for an empty prompt, for lengths outside 1 … length,
    for more tokens than the model's n_positions, for unequal prompts where
    the model takes no mask, for a past longer than the prompt, for impossible
    options and for logits that are not finite.
    """
    new = stream(
        model,
        ids,
        new_tokens,
        lengths=lengths,
        stop=stop,
        generator=generator,
        past=past,
        chunk=chunk,
        **options,
    )
    return torch.cat([ids, *(column[:, None] for column in new)], dim=1)


@checked
def stream(
    model: nn.Module,
    ids: Int[Tensor, "batch length"],
    new_tokens: int,
    *,
    lengths: Int[Tensor, "batch"] | None = None,
    stop: int | Sequence | None = None,
    generator: torch.Generator | None = None,
    past=None,
    chunk: int | None = None,
    **options,
) -> Iterator[Int[Tensor, "batch"]]:
    """What `generate` writes, token by token: one id for each row."""
    check_sizes(0, new_tokens=new_tokens)
    check_options(**{**OPTIONS, **options})
    ids, mask = real_columns(ids, lengths)
    check_room(model, ids.shape[1], new_tokens)
    reader = reading(model, mask is None, past, chunk, ids, new_tokens)
    ending = Ending(stop_ids(stop))
    return tokens(reader, ids, new_tokens, mask, ending, generator, options)


def tokens(reader, ids, new_tokens, mask, ending, generator, options):
    """The loop behind `stream`, once its arguments are known to fit."""
    home, start = ids.device, ids.shape[1]
    ids, mask = reader.move(ids), reader.move(mask)
    for _ in range(new_tokens):
        logits = reader(ids, mask)
        new = ending.repeat(pick(logits, generator, options))
        ids = torch.cat([ids, new[:, None]], dim=1)
        mask = None if mask is None else F.pad(mask, (0, 1), value=True)
        yield new.to(home)
        if ending.all(ids[:, start:]):
            return


def pick(
    logits: Float[Tensor, "batch vocab"], generator, options: dict
) -> Int[Tensor, "batch"]:
    """Draw the next token of each row; at temperature 0 the likeliest."""
    if options.get("temperature") == 0:
        check_logits(logits)
        return logits.argmax(-1)
    chance = next_distribution(logits, **options)
    return torch.multinomial(chance, 1, generator=generator)[:, 0]


class Ending:
    """Which rows have written the stop; they repeat its last id."""

    def __init__(self, stop: tuple[int, ...]):
        self.stop, self.ended = stop, None

    def repeat(self, new: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        """Replace what rows say that have nothing more to say."""
        if self.ended is None:
            return new
        return new.masked_fill(self.ended, self.stop[-1])

    def all(self, written: Int[Tensor, "batch new"]) -> bool:
        """Whether the last row has ended."""
        size = len(self.stop)
        if not size or written.shape[1] < size:
            return False
        here = (written[:, -size:] == written.new_tensor(self.stop)).all(-1)
        self.ended = here if self.ended is None else self.ended | here
        return bool(self.ended.all())


class Cached:
    """Reads what the cache has not read yet, in chunks."""

    def __init__(self, model: nn.Module, past, chunk: int | None):
        self.model, self.past, self.chunk = model, past, chunk

    def move(self, x: Tensor | None) -> Tensor | None:
        """Bring ids or a mask to where the model is."""
        first = next(self.model.parameters(), None)
        return x if first is None or x is None else x.to(first.device)

    def __call__(
        self,
        ids: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch length"] | None,
    ) -> Float[Tensor, "batch vocab"]:
        """Return the logits of the next token."""
        unread = ids[:, self.past.length :]
        for part in unread.split(self.chunk or unread.shape[1], dim=1):
            total = self.past.length + part.shape[1]
            known = [] if mask is None else [mask[:, :total]]
            with evaluating(self.model):
                logits = self.model(part, *known, past=self.past)
        return logits[:, -1]


class Whole(Cached):
    """Reads the whole text again for every token: no cache is needed."""

    def __call__(
        self,
        ids: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch length"] | None,
    ) -> Float[Tensor, "batch vocab"]:
        """Return the logits of the next token."""
        known = [] if mask is None else [mask]
        with evaluating(self.model):
            return self.model(ids, *known)[:, -1]


def reading(model, equal: bool, past, chunk, ids, new_tokens: int) -> Cached:
    """Choose how a model reads, by what its forward takes."""
    takes = inspect.signature(model.forward).parameters
    if not equal and "mask" not in takes:
        raise ValueError(
            f"lengths: got unequal ones, expected a model whose forward takes "
            f"a mask, not {type(model).__name__}"
        )
    if chunk is not None:
        check_sizes(chunk=chunk)
    if "past" not in takes:
        if past is not None:
            raise ValueError(
                f"past: got {type(past).__name__}, expected none: the forward "
                f"of {type(model).__name__} takes no past"
            )
        return Whole(model, None, None)
    if past is None:  # the last token is written and never read
        room = max(1, ids.shape[1] + new_tokens - 1)
        past = getattr(model, "cache_for", KVCache)(room)
    elif past.length >= ids.shape[1]:
        raise ValueError(
            f"past: got {past.length} tokens, expected fewer than ids' "
            f"{ids.shape[1]}, whose first ones they are"
        )
    return Cached(model, past, chunk)


def real_columns(
    ids: Int[Tensor, "batch length"], lengths: Int[Tensor, "batch"] | None
) -> tuple[Tensor, Bool[Tensor, "batch columns"] | None]:
    """Drop columns without a prompt; no mask if then nothing is padding."""
    if lengths is None:
        return ids, None
    check_within(1, ids.shape[1], lengths=lengths)
    longest, shortest = int(lengths.max()), int(lengths.min())
    ids = ids[:, ids.shape[1] - longest :]
    if shortest == longest:
        return ids, None
    place = torch.arange(longest, device=ids.device)
    return ids, place >= longest - lengths[:, None]


def check_room(model: nn.Module, length: int, new_tokens: int) -> None:
    """Raise `ValueError` unless a model can read all but the last token.

    Cutting the front off, as `gpt.generate` does, would move every token
    to another position, and no kept key would be right.
    """
    longest = getattr(model, "n_positions", None)
    read = length + max(new_tokens - 1, 0)
    if longest is not None and read > longest:
        raise ValueError(
            f"ids: got {length} tokens and {new_tokens} new ones, expected "
            f"at most n_positions + 1 = {longest + 1} in all"
        )
