"""Speculative decoding: a small model guesses ahead, the large one checks.

    model    = M_p, the large one; its distribution is what comes out
    draft    = M_q, the small one
    ahead    = γ: tokens that are guessed before each check
    p, q     = their distributions behind each guessed token
    residual = norm(max(0, p - q)): where a refused guess is drawn anew
    α        = chance that a guess is accepted, Σ min(p, q)

The large model reads all guesses in one step, which costs about as much as
reading one token, since its weights are read once either way.

Sources
- Leviathan, Kalman and Matias 2022, "Fast Inference from Transformers via
  Speculative Decoding", arXiv 2211.17192, §2.3 (algorithm 1), §3.1, A.1.
- Chen et al. 2023, "Accelerating Large Language Model Decoding with
  Speculative Sampling", arXiv 2302.01318 (the same, independently).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked
from llmnotes.models.kv_cache.cache import KVCache
from llmnotes.models.kv_cache.generation import check_room
from llmnotes.modes import evaluating
from llmnotes.transformer.gpt.sampling import (
    OPTIONS,
    check_options,
    next_distribution,
)


class Speculation(NamedTuple):
    """A text, and how it came about."""

    ids: Int[Tensor, "1 longer"]
    checks: int  # how often the large model was asked
    guessed: int
    accepted: int


def accept_chance(
    p: Float[Tensor, "vocab"], q: Float[Tensor, "vocab"], token: int
) -> float:
    """min(1, p/q) of a token that was drawn from q.

    Source: Leviathan et al. 2022, §2.3.
    """
    return min(1.0, (p[token] / q[token]).item())


def residual(
    p: Float[Tensor, "vocab"], q: Float[Tensor, "vocab"]
) -> Float[Tensor, "vocab"]:
    """Where p is above q, by how much, as a distribution.

    Source: Leviathan et al. 2022, §2.3.
    """
    above = (p - q).clamp(min=0)
    return above / above.sum()


def acceptance(
    p: Float[Tensor, "... vocab"], q: Float[Tensor, "... vocab"]
) -> Float[Tensor, "..."]:
    """Σ min(p, q): the chance that a guess is accepted.

    Source: Leviathan et al. 2022, theorem 3.5.
    """
    return torch.minimum(p, q).sum(-1)


def expected_tokens(alpha: float, ahead: int) -> float:
    """Tokens for each check, if all guesses are accepted with chance α.

    (1 - α^(γ+1)) / (1 - α), at least 1: a check always says one itself.

    Source: Leviathan et al. 2022, eq. 1.
    """
    return sum(alpha**i for i in range(ahead + 1))


def judge(
    p: Float[Tensor, "rows vocab"],
    q: list[Tensor],
    guesses: list[int],
    generator: torch.Generator | None = None,
) -> list[int]:
    """Keep guesses up to the first refused one; say one token more.

    p has a row more than q: the distribution behind the last guess.
    """
    device = p.device
    for i, token in enumerate(guesses):
        luck = torch.rand((), generator=generator, device=device).item()
        if luck >= accept_chance(p[i], q[i], token):
            anew = residual(p[i], q[i])
            return [*guesses[:i], draw(anew, generator)]
    return [*guesses, draw(p[-1], generator)]


def draw(chance: Float[Tensor, "vocab"], generator=None) -> int:
    """One token."""
    return int(torch.multinomial(chance, 1, generator=generator))


def behind(
    model: nn.Module, ids: Int[Tensor, "1 length"], past, last: int, options
) -> Float[Tensor, "rows vocab"]:
    """Read what the past has not read; distributions behind the last ids."""
    with evaluating(model):
        logits = model(ids[:, past.length :], past=past)[0, -last:]
    return next_distribution(logits, **options)


def guess(draft, ids, past, ahead: int, generator, options):
    """Let the small model write; its text and the distributions used."""
    used, text = [], ids
    for _ in range(ahead):
        q = behind(draft, text, past, 1, options)[0]
        token = draw(q, generator)
        text = torch.cat([text, text.new_tensor([[token]])], dim=1)
        used.append(q)
    return text, used


@checked
def speculate(
    model: nn.Module,
    draft: nn.Module,
    ids: Int[Tensor, "batch length"],
    new_tokens: int,
    *,
    ahead: int = 4,
    generator: torch.Generator | None = None,
    **options,
) -> Speculation:
    """Continue one text as `generate(model, …)` would, with fewer steps.

    The draws differ, the distribution does not; at temperature 0 the text is
    the greedy one. Both models take a `past` and have one vocabulary;
    `options` change both distributions alike.

    Raises `ValueError` for another batch than 1, for a text that one of the
    models could not read and for impossible options.

    Source: Leviathan et al. 2022, algorithm 1.
    """
    check_sizes(0, new_tokens=new_tokens, ahead=ahead)
    check_options(**{**OPTIONS, **options})
    if len(ids) != 1:
        raise ValueError(f"ids: got batch {len(ids)}, expected 1")
    end = ids.shape[1] + new_tokens
    for each in (model, draft):
        check_room(each, ids.shape[1], new_tokens)
    pasts = KVCache(end), KVCache(end)
    checks = guessed = accepted = 0
    while ids.shape[1] < end:
        more = min(ahead, end - ids.shape[1] - 1)
        text, q = guess(draft, ids, pasts[1], more, generator, options)
        p = behind(model, text, pasts[0], more + 1, options)
        guesses = text[0, ids.shape[1] :].tolist()
        said = judge(p, q, guesses, generator)
        ids = torch.cat([ids, ids.new_tensor([said])], dim=1)
        for past in pasts:  # what was refused was never read
            past.cut(min(past.length, ids.shape[1] - 1))
        checks, guessed = checks + 1, guessed + more
        accepted += len(said) - 1
    return Speculation(ids, checks, guessed, accepted)
