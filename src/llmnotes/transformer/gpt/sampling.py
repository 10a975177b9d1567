"""From logits to the next token: greedy, or drawn from a filtered softmax.

    temperature = T: logits are divided by it; 0 means greedy
    top_k       = k: only the k likeliest tokens
    top_p       = p: the fewest likeliest tokens whose probabilities reach p
    min_p       = only tokens at least this share as likely as the likeliest

Sources
- Fan et al. 2018, "Hierarchical Neural Story Generation", arXiv 1805.04833,
  §5.4 (top-k).
- Holtzman et al. 2019, "The Curious Case of Neural Text Degeneration",
  arXiv 1904.09751, §3.1 (nucleus, top-p).
- Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", arXiv
  2407.01082, §3.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked
from llmnotes.modes import evaluating


def keep_top_k(
    logits: Float[Tensor, "batch vocab"], k: int
) -> Float[Tensor, "batch vocab"]:
    """Keep exactly k logits a row, the rest -inf; of equals, the first.

    Comparing with the k-th largest instead (`logits < v_k`) keeps all ties.
    """
    order = logits.argsort(dim=-1, descending=True, stable=True)
    return logits.scatter(-1, order[:, k:], -torch.inf)


def keep_top_p(
    logits: Float[Tensor, "batch vocab"], p: float
) -> Float[Tensor, "batch vocab"]:
    """Keep the fewest likeliest tokens whose probabilities reach p.

    Source: Holtzman et al. 2019.
    """
    if p == 1:  # rounding could make the sum reach 1 before the last token
        return logits
    order = logits.argsort(dim=-1, descending=True, stable=True)
    chance = logits.softmax(-1).gather(-1, order)
    before = chance.cumsum(-1) - chance  # mass of the likelier ones
    drop = torch.zeros_like(before, dtype=torch.bool)
    drop.scatter_(-1, order, before >= p)
    return logits.masked_fill(drop, -torch.inf)


def keep_min_p(
    logits: Float[Tensor, "batch vocab"], share: float
) -> Float[Tensor, "batch vocab"]:
    """Keep tokens with at least `share` of the likeliest one's chance.

    Source: Nguyen et al. 2024.
    """
    chance = logits.softmax(-1)
    low = chance < share * chance.amax(-1, keepdim=True)
    return logits.masked_fill(low, -torch.inf)


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

    Raises `ValueError` for values outside their range; top_k above the
    vocabulary keeps everything.
    """
    check_options(temperature, top_k, top_p, min_p)
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


@checked
def generate(
    model: nn.Module,
    ids: Int[Tensor, "batch length"],
    steps: int,
    *,
    generator: torch.Generator | None = None,
    **options,
) -> Int[Tensor, "batch longer"]:
    """Continue `ids` by `steps` tokens; `options` as `next_distribution`.

    A model with the attribute `n_positions` is shown the last n_positions
    ids only. Meanwhile the model is in evaluation mode.

    Raises `ValueError` for an empty prompt or impossible options.
    """
    check_sizes(0, steps=steps)
    window = getattr(model, "n_positions", None) or ids.shape[1] + steps
    with evaluating(model):
        for _ in range(steps):
            logits = model(ids[:, -window:])[:, -1]
            chance = next_distribution(logits, **options)
            new = torch.multinomial(chance, 1, generator=generator)
            ids = torch.cat([ids, new], dim=1)
    return ids
