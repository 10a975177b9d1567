r"""Advantages: by how much an action was better than what was expected.

rewards   = r_t, one for each token, or one for each answer
values    = V(s_t), what a critic expects from before token t on
returns   = R_t, what the critic should have said
discount  = γ          trace = λ, between one step (0) and the whole (1)
δ_t       = r_t + γ V(s_{t+1}) - V(s_t); after the last token V = 0
advantages of GAE    A_t = δ_t + γλ A_{t+1}
advantages of GRPO   A_i = (r_i - mean of the group) / its spread

Sources
- Schulman et al. 2015, "High-Dimensional Continuous Control Using
  Generalized Advantage Estimation", arXiv 1506.02438, equation 16.
- Shao et al. 2024, "DeepSeekMath", arXiv 2402.03300, §4.1.2 (groups).
- Liu et al. 2025, "Understanding R1-Zero-Like Training", arXiv 2503.20783,
  §3.1 (what dividing by the spread does).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llmnotes.checks import check_sizes, checked, seen

EPSILON = 1e-4  # beside the spread; trl's, and the same for parity


@checked
def gae(
    rewards: Float[Tensor, "batch answer"],
    values: Float[Tensor, "batch answer"],
    mask: Bool[Tensor, "batch answer"] | None = None,
    *,
    discount: float | int = 1.0,
    trace: float | int = 0.95,
) -> tuple[Float[Tensor, "batch answer"], Float[Tensor, "batch answer"]]:
    """Return advantages and returns, both without a gradient.

    Padding stands behind an answer; there both are 0.

    Raises `ValueError` for rewards or values that are not finite, for a
    mask with an empty row or a gap, for a discount or trace outside 0 to 1.

    Source: Schulman et al. 2015, equation 16.
    """
    check_share(discount=discount, trace=trace)
    mask = whole(rewards) if mask is None else mask
    check_rows(mask)
    check_behind(mask)
    check_finite(mask, rewards=rewards, values=values)
    rewards, values = (
        x.detach().masked_fill(~mask, 0) for x in (rewards, values)
    )
    advantages, after, later = torch.zeros_like(rewards), 0, 0
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + discount * after - values[:, t]
        later = delta + discount * trace * later
        advantages[:, t], after = later, values[:, t]
    return advantages, advantages + values


@checked
def group_advantages(
    rewards: Float[Tensor, "prompts answers"],
) -> Float[Tensor, "prompts answers"]:
    """Return each answer's reward, measured by those to the same prompt.

    In a group of equals all are 0: it is dead, nothing is learned from it.

    Raises `ValueError` for rewards that are not finite, for groups of one,
    and if all groups are dead.

    Source: Shao et al. 2024, §4.1.2.
    """
    centred = centred_advantages(rewards)
    return centred / (rewards.std(dim=1, keepdim=True) + EPSILON)


@checked
def centred_advantages(
    rewards: Float[Tensor, "prompts answers"],
) -> Float[Tensor, "prompts answers"]:
    """Return rewards less the mean of their group: Dr. GRPO's.

    The spread is small where a group is almost always right, or almost
    never: divided by it, very easy and very hard prompts weigh most.

    Raises `ValueError` as `group_advantages` does.

    Source: Liu et al. 2025, §3.1.
    """
    check_groups(rewards)
    return rewards - rewards.mean(dim=1, keepdim=True)


@checked
def alive(
    rewards: Float[Tensor, "prompts answers"],
) -> Bool[Tensor, "prompts"]:
    """Whether the answers of a group were not all worth the same."""
    return (rewards != rewards[:, :1]).any(1)


@checked
def whitened(
    advantages: Float[Tensor, "batch answer"],
    mask: Bool[Tensor, "batch answer"] | None = None,
) -> Float[Tensor, "batch answer"]:
    """Return advantages with mean 0 and variance 1 over all real tokens."""
    mask = whole(advantages) if mask is None else mask
    check_rows(mask)
    real = advantages[mask]
    scaled = (advantages - real.mean()) / (real.std(correction=0) + 1e-8)
    return scaled.masked_fill(~mask, 0)


def whole(x: Tensor) -> Bool[Tensor, "..."]:
    """A mask that leaves nothing out."""
    return torch.ones_like(x, dtype=torch.bool)


def check_groups(rewards: Tensor) -> None:
    """Raise `ValueError` unless something can be learned from a group."""
    check_finite(None, rewards=rewards)
    check_sizes(2, answers=rewards.shape[1])
    if seen(rewards) and not alive(rewards).any():
        raise ValueError(
            f"rewards: got the same one throughout each of {len(rewards)} "
            "groups, expected a group in which they differ: all advantages "
            "would be 0"
        )


def check_rows(mask: Bool[Tensor, "batch answer"]) -> None:
    """Raise `ValueError` for a row without a token."""
    empty = ~mask.any(1)
    if seen(mask) and empty.any():
        raise ValueError(
            f"mask: got nothing in row {int(empty.nonzero()[0])}, expected "
            "at least one token in each"
        )


def check_behind(mask: Bool[Tensor, "batch answer"]) -> None:
    """Raise `ValueError` unless padding stands behind the answers."""
    gap = (~mask[:, :-1] & mask[:, 1:]).any(1)
    if seen(mask) and gap.any():
        raise ValueError(
            f"mask: got True behind False in row {int(gap.nonzero()[0])}, "
            "expected padding behind an answer only"
        )


def check_finite(mask: Tensor | None, **tensors: Tensor) -> None:
    """Raise `ValueError` where a real entry is NaN or infinite."""
    for name, x in tensors.items():
        if not seen(x):
            continue
        wrong = ~x.isfinite() if mask is None else ~x.isfinite() & mask
        if wrong.any():
            place = tuple(wrong.nonzero()[0].tolist())
            at = place[0] if len(place) == 1 else place
            raise ValueError(
                f"{name}: got {x[place].item()} at {at}, expected finite "
                "numbers"
            )


def check_share(**numbers: float) -> None:
    """Raise `ValueError` unless all numbers lie between 0 and 1."""
    for name, got in numbers.items():
        if not 0 <= got <= 1:
            raise ValueError(f"{name}: got {got}, expected between 0 and 1")
