"""From logits to the next token: greedy, or drawn from a filtered softmax.

    temperature = T: logits are divided by it; 0 means greedy
    top_k       = k: only the k likeliest tokens
    top_p       = p: the fewest likeliest tokens whose probabilities reach p
    min_p       = only tokens at least this share as likely as the likeliest
    stop        = a token, or several in a row, that end a text
    mask        = True where a token of a prompt is real, False at padding

Sources
- Fan et al. 2018, "Hierarchical Neural Story Generation", arXiv 1805.04833,
  §5.4 (top-k).
- Holtzman et al. 2019, "The Curious Case of Neural Text Degeneration",
  arXiv 1904.09751, §3.1 (nucleus, top-p).
- Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", arXiv
  2407.01082, §3.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked
from llmnotes.modes import evaluating

SLACK = 1e-6  # by how much of itself a sum of probabilities may be rounded


def keep_top_k(
    logits: Float[Tensor, "batch vocab"], k: int
) -> Float[Tensor, "batch vocab"]:
    """Keep exactly k logits a row, the rest -inf; of equals, the first.

    Comparing with the k-th largest instead (`logits < v_k`) keeps all ties.
    """
    check_sizes(k=k)
    order = logits.argsort(dim=-1, descending=True, stable=True)
    return logits.scatter(-1, order[:, k:], -torch.inf)


def keep_top_p(
    logits: Float[Tensor, "batch vocab"], p: float
) -> Float[Tensor, "batch vocab"]:
    """Keep the fewest likeliest tokens whose probabilities reach p.

    Sums are rounded: eight tenths add up to 0.7999999999999999, and reach
    0.8 all the same. The likeliest token is always kept.

    Source: Holtzman et al. 2019.
    """
    check_share("p", p)
    if p == 1:  # rounding could make the sum reach 1 before the last token
        return logits
    order = logits.argsort(dim=-1, descending=True, stable=True)
    chance = logits.double().softmax(-1).gather(-1, order)
    before = chance.cumsum(-1) - chance  # mass of the likelier ones
    enough = before >= p - SLACK * min(p, 1 - p)
    enough[..., 0] = False
    drop = torch.zeros_like(enough).scatter_(-1, order, enough)
    return logits.masked_fill(drop, -torch.inf)


def keep_min_p(
    logits: Float[Tensor, "batch vocab"], share: float
) -> Float[Tensor, "batch vocab"]:
    """Keep tokens with at least `share` of the likeliest one's chance.

    Source: Nguyen et al. 2024.
    """
    check_share("share", share)
    chance = logits.double().softmax(-1)
    least = share * chance.amax(-1, keepdim=True)
    return logits.masked_fill(chance < (1 - SLACK) * least, -torch.inf)


def check_share(name: str, got: float) -> None:
    """Raise `ValueError` unless a number lies between 0 and 1."""
    if not 0 <= got <= 1:
        raise ValueError(f"{name}: got {got}, expected between 0 and 1")


def check_options(temperature, top_k, top_p, min_p) -> None:
    """Raise `ValueError` for options that make no distribution."""
    if top_k is not None:
        check_sizes(top_k=top_k)
    for name, got, fits, expected in (
        ("temperature", temperature, 0 <= temperature < math.inf, "0 or more"),
        ("top_p", top_p, top_p is None or 0 < top_p <= 1, "0 < top_p <= 1"),
        ("min_p", min_p, min_p is None or 0 <= min_p <= 1, "0 <= min_p <= 1"),
    ):
        if not fits:
            raise ValueError(f"{name}: got {got}, expected {expected}")


def check_logits(logits: Float[Tensor, "batch vocab"]) -> None:
    """Raise `ValueError` for rows from which nothing can be drawn.

    A NaN is the largest of its row, so one look finds it, +inf and rows
    that are -inf throughout.
    """
    most = logits.amax(-1)
    bad = ~most.isfinite()
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"logits: got {most[row].item()} as the largest of row {row}, "
            "expected a finite number"
        )


@checked
def next_distribution(
    logits: Float[Tensor, "batch vocab"],
    *,
    temperature: float | int = 1.0,
    top_k: int | None = None,
    top_p: float | int | None = None,
    min_p: float | int | None = None,
) -> Float[Tensor, "batch vocab"]:
    """Return the probabilities a token is drawn from.

    Temperature first, then top-k, top-p and min-p, each on what the one
    before has left. At temperature 0 all mass is on the first maximum.

    Raises `ValueError` for values outside their range and for logits that
    are NaN, +inf or -inf throughout; top_k above the vocabulary keeps
    everything.
    """
    check_options(temperature, top_k, top_p, min_p)
    check_logits(logits)
    if temperature == 0:
        top_k, temperature = 1, 1.0
    # Subtracting the maximum first, 0/T stays 0 however small T is, as long
    # as T itself is not rounded to 0: float64 holds every T Python has.
    logits = logits.double()
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, float(top_p))
    if min_p is not None:
        logits = keep_min_p(logits, float(min_p))
    return logits.softmax(-1).float()


def left_padded(
    prompts: Sequence, pad: int = 0
) -> tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
    """Prompts of different lengths as one batch, and which ids are real.

    Padding stands on the left: what is written is appended on the right.

    Raises `ValueError` without prompts and for one without tokens.
    """
    rows = [torch.as_tensor(prompt) for prompt in prompts]
    if not rows or not all(row.ndim == 1 and len(row) for row in rows):
        shapes = [tuple(row.shape) for row in rows]
        raise ValueError(
            f"prompts: got shapes {shapes}, expected one row of ids each"
        )
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad)
    real = torch.zeros_like(ids, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, longest - len(row) :] = row
        real[i, longest - len(row) :] = True
    return ids, real


def check_left(mask: Bool[Tensor, "batch length"]) -> None:
    """Raise `ValueError` unless a row's padding stands on its left."""
    wrong = ~mask[:, -1] | (mask[:, :-1] & ~mask[:, 1:]).any(-1)
    if wrong.any():
        raise ValueError(
            f"mask: got False behind True in row {int(wrong.nonzero()[0])}, "
            "expected padding on the left only"
        )


def stop_ids(stop: int | Sequence | None) -> tuple[int, ...]:
    """What ends a text, as ids; none if nothing does."""
    if stop is None:
        return ()
    ids = (stop,) if isinstance(stop, int) else tuple(stop)
    if not ids or not all(isinstance(i, int) and i >= 0 for i in ids):
        raise ValueError(f"stop: got {stop!r}, expected an id or some")
    return ids


@checked
def stream(
    model: nn.Module,
    ids: Int[Tensor, "batch length"],
    steps: int,
    *,
    mask: Bool[Tensor, "batch length"] | None = None,
    stop: int | Sequence | None = None,
    generator: torch.Generator | None = None,
    **options,
) -> Iterator[Int[Tensor, "batch"]]:
    """What `generate` writes, token by token: one id for each row."""
    check_sizes(0, steps=steps)
    check_options(**{**OPTIONS, **options})
    if mask is not None:
        check_left(mask)
    return tokens(model, ids, steps, mask, stop_ids(stop), generator, options)


OPTIONS = {"temperature": 1.0, "top_k": None, "top_p": None, "min_p": None}


def tokens(model, ids, steps, mask, stop, generator, options):
    """The loop behind `stream`, once its arguments are known to fit."""
    window = getattr(model, "n_positions", None) or ids.shape[1] + steps
    start, ended = ids.shape[1], torch.zeros_like(ids[:, 0], dtype=torch.bool)
    last = ids.new_tensor(stop)
    for _ in range(steps):
        seen = [x[:, -window:] for x in (ids, mask) if x is not None]
        with evaluating(model):
            logits = model(*seen)[:, -1]
        chance = next_distribution(logits, **options)
        new = torch.multinomial(chance, 1, generator=generator)
        if stop:  # a row that has ended repeats its last token
            new[ended] = last[-1]
        ids = torch.cat([ids, new], dim=1)
        if mask is not None:
            mask = F.pad(mask, (0, 1), value=True)
        yield new[:, 0]
        if stop and ids.shape[1] - start >= len(stop):
            ended |= (ids[:, -len(stop) :] == last).all(-1)
            if ended.all():
                return


@checked
def generate(
    model: nn.Module,
    ids: Int[Tensor, "batch length"],
    steps: int,
    *,
    mask: Bool[Tensor, "batch length"] | None = None,
    stop: int | Sequence | None = None,
    generator: torch.Generator | None = None,
    **options,
) -> Int[Tensor, "batch longer"]:
    """Continue `ids` by `steps` tokens; `options` as `next_distribution`.

    A model with the attribute `n_positions` is shown the last n_positions
    ids only. Meanwhile the model is in evaluation mode. Prompts of different
    lengths come from `left_padded`; their `mask` is handed to the model,
    which must take one, as `GPT` does. A row in which `stop` was written, an
    id or several in a row, is filled with its last id, and the whole ends
    when all rows have ended.

    Raises `ValueError` for an empty prompt, impossible options, padding that
    is not on the left and logits that are not finite.
    """
    new = stream(
        model, ids, steps, mask=mask, stop=stop, generator=generator, **options
    )
    return torch.cat([ids, *(column[:, None] for column in new)], dim=1)
