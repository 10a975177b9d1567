r"""What is made small: REINFORCE, PPO, GRPO and its variants, and DPO.

new, old   = log π and log π_old of each token, (batch, answer); old is the
             policy that drew the answers, and None if that is the new one
reference  = log π_ref, of the policy that one began with
ratio      = ρ = π / π_old
advantages = A, one for each token, or one for each answer
clip       = ε: outside 1 - ε … 1 + ε a ratio earns nothing more
beta       = β, what a nat of KL costs (in DPO: what it would have cost)
mask       = which tokens are real; without it, all
average    = how the losses of all tokens become one number

Sources
- Williams 1992, "Simple Statistical Gradient-Following Algorithms"
  (REINFORCE).
- Schulman et al. 2017, "Proximal Policy Optimization Algorithms", arXiv
  1707.06347, equations 7 and 9.
- Rafailov et al. 2023, "Direct Preference Optimization", arXiv 2305.18290,
  equation 7.
- Pang et al. 2024, "Iterative Reasoning Preference Optimization", arXiv
  2404.19733, equation 1 (the likelihood of the chosen beside DPO).
- Shao et al. 2024, "DeepSeekMath", arXiv 2402.03300, equation 3 (GRPO).
- Yu et al. 2025, "DAPO", arXiv 2503.14476, equation 8.
- Liu et al. 2025, "Understanding R1-Zero-Like Training", arXiv 2503.20783,
  §3.2 (Dr. GRPO).
- DeepSeek-AI 2025, "DeepSeek-V3.2", arXiv 2512.02556, §3.1, equation 7 (k3
  with the ratio).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from llmnotes.adaptation.rlhf.advantages import (
    check_finite,
    check_rows,
    whole,
)
from llmnotes.adaptation.rlhf.kl import k3
from llmnotes.checks import check_sizes, checked

Average = Callable[[Tensor, Tensor], Tensor]


@checked
def per_answer(
    losses: Float[Tensor, "batch answer"], mask: Bool[Tensor, "batch answer"]
) -> Float[Tensor, ""]:
    """GRPO's: the mean over an answer's tokens, then over answers.

    A token of a long answer counts less than one of a short answer.
    """
    real = losses.masked_fill(~mask, 0)
    return (real.sum(1) / mask.sum(1)).mean()


@checked
def per_token(
    losses: Float[Tensor, "batch answer"], mask: Bool[Tensor, "batch answer"]
) -> Float[Tensor, ""]:
    """DAPO's, and BNPO's: the mean over all tokens, each as much as any.

    They differ where a batch is cut into pieces: DAPO divides by the tokens
    of the whole batch, BNPO by those of the piece.
    """
    return losses.masked_fill(~mask, 0).sum() / mask.sum()


def per_limit(limit: int) -> Average:
    """Dr. GRPO's: divide by the longest that an answer could have been.

    What an answer counts then depends on no length at all.
    """
    check_sizes(limit=limit)

    @checked
    def average(
        losses: Float[Tensor, "batch answer"],
        mask: Bool[Tensor, "batch answer"],
    ) -> Float[Tensor, ""]:
        total = losses.masked_fill(~mask, 0).sum()
        return total / (len(losses) * limit)

    return average


@checked
def reinforce_loss(
    new: Float[Tensor, "batch answer"],
    advantages: Float[Tensor, "batch"],
    mask: Bool[Tensor, "batch answer"] | None = None,
) -> Float[Tensor, ""]:
    """-A · log π of the whole answer; its gradient is minus that of E[A].

    Raises `ValueError` for advantages that are not finite, and a mask with
    an empty row.

    Source: Williams 1992.
    """
    mask = whole(new) if mask is None else mask
    check_rows(mask)
    check_finite(None, advantages=advantages)
    whole_answer = new.masked_fill(~mask, 0).sum(1)
    return -(advantages.detach() * whole_answer).mean()


def clipped(
    new: Float[Tensor, "batch answer"],
    old: Float[Tensor, "batch answer"] | None,
    advantages: Float[Tensor, "batch #answer"],
    low: float,
    high: float,
) -> Float[Tensor, "batch answer"]:
    """-min(ρA, clip(ρ)A) of each token: PPO's heart, and GRPO's.

    Source: Schulman et al. 2017, equation 7.
    """
    old = new if old is None else old
    ratio = (new - old.detach()).exp()
    kept = ratio.clamp(1 - low, 1 + high)
    advantages = advantages.detach()
    return -torch.minimum(ratio * advantages, kept * advantages)


@checked
def ppo_loss(
    new: Float[Tensor, "batch answer"],
    old: Float[Tensor, "batch answer"] | None,
    advantages: Float[Tensor, "batch answer"],
    mask: Bool[Tensor, "batch answer"] | None = None,
    *,
    clip: float = 0.2,
) -> Float[Tensor, ""]:
    """PPO's loss of the policy, the mean over all tokens.

    Raises `ValueError` for a clip outside 0 to 1, a mask with an empty row
    and advantages that are not finite.

    Source: Schulman et al. 2017, equation 7.
    """
    mask = whole(new) if mask is None else mask
    check_clip(clip=clip)
    check_rows(mask)
    check_finite(mask, advantages=advantages)
    return per_token(clipped(new, old, advantages, clip, clip), mask)


@checked
def value_loss(
    values: Float[Tensor, "batch answer"],
    returns: Float[Tensor, "batch answer"],
    mask: Bool[Tensor, "batch answer"] | None = None,
) -> Float[Tensor, ""]:
    """½(V - R)², the mean over all tokens: what a critic learns from."""
    mask = whole(values) if mask is None else mask
    check_rows(mask)
    check_finite(mask, returns=returns)
    return per_token((values - returns.detach()).square() / 2, mask)


@checked
def grpo_loss(
    new: Float[Tensor, "batch answer"],
    old: Float[Tensor, "batch answer"] | None,
    advantages: Float[Tensor, "batch"],
    mask: Bool[Tensor, "batch answer"] | None = None,
    *,
    clip: tuple[float, float] = (0.2, 0.2),
    average: Average = per_answer,
    penalty: Float[Tensor, "batch answer"] | None = None,
) -> Float[Tensor, ""]:
    """GRPO's loss: PPO's clipped tokens, each with its answer's advantage.

    `clip` are ε below and above 1. `penalty` is what each token pays for
    leaving the reference, see `kl_penalty`. The variants are arguments:
    `average`, and how the advantages were made.

    Raises `ValueError` as `ppo_loss` does.

    Source: Shao et al. 2024, equation 3.
    """
    mask = whole(new) if mask is None else mask
    low, high = clip
    check_clip(low=low)
    check_beta(high=high)
    check_rows(mask)
    check_finite(None, advantages=advantages)
    losses = clipped(new, old, advantages[:, None], low, high)
    return average(losses if penalty is None else losses + penalty, mask)


@checked
def kl_penalty(
    new: Float[Tensor, "batch answer"],
    old: Float[Tensor, "batch answer"] | None,
    reference: Float[Tensor, "batch answer"],
    *,
    beta: float,
) -> Float[Tensor, "batch answer"]:
    """β · ρ · k3, with a gradient through ρ as well.

    Without ρ its gradient is that of KL(π_ref ‖ π): see `kl`. With it, it
    is that of KL(π ‖ π_ref), also for answers that an older policy drew.

    Source: DeepSeek-AI 2025, equation 7.
    """
    check_beta(beta=beta)
    old = new if old is None else old
    ratio = (new - old.detach()).exp()
    return beta * ratio * k3(new, reference.detach())


@checked
def dpo_loss(
    chosen: Float[Tensor, "batch"],
    rejected: Float[Tensor, "batch"],
    reference_chosen: Float[Tensor, "batch"],
    reference_rejected: Float[Tensor, "batch"],
    *,
    beta: float = 0.1,
) -> Float[Tensor, ""]:
    """-log σ(β · margin), the mean over pairs of answers.

    All four are log-probabilities of whole answers: sums over tokens. At
    the start the margin is 0 and the loss ln 2.

    Raises `ValueError` for a beta that is not above 0, and for what is not
    finite.

    Source: Rafailov et al. 2023, equation 7.
    """
    check_beta(beta=beta)
    check_finite(
        None,
        chosen=chosen,
        rejected=rejected,
        reference_chosen=reference_chosen,
        reference_rejected=reference_rejected,
    )
    gained = chosen - reference_chosen.detach()
    lost = rejected - reference_rejected.detach()
    return -F.logsigmoid(beta * (gained - lost)).mean()


def check_clip(**clips: float) -> None:
    """Raise `ValueError` unless ratios are kept above 0."""
    for name, got in clips.items():
        if not 0 < got < 1:
            raise ValueError(f"{name}: got {got}, expected 0 < {name} < 1")


def check_beta(**numbers: float) -> None:
    """Raise `ValueError` unless all are finite numbers above 0."""
    for name, got in numbers.items():
        if not 0 < got < math.inf:
            raise ValueError(f"{name}: got {got}, expected a number above 0")
