"""Answers drawn from a policy, and how likely a policy finds answers.

policy    = π, a GPT whose next token is its next action
prompts   = what it is given, (batch, prompt)
answers   = what it wrote, (batch, answer); all of one length here
log_probs = log π of each token of an answer, (batch, answer): their sum is
            that of the whole answer
mask      = which tokens of an answer are real, where lengths differ
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.adaptation.rlhf.kl import divergence
from llmnotes.checks import checked
from llmnotes.models.kv_cache import generate
from llmnotes.modes import evaluating


def sample(
    policy: nn.Module,
    prompts: Int[Tensor, "batch prompt"],
    length: int,
    *,
    generator: torch.Generator | None = None,
    temperature: float | int = 1,
) -> Int[Tensor, "batch answer"]:
    """Draw an answer of `length` tokens to each prompt; at 0 the likeliest.

    The policy must be sampled as it is, at temperature 1 and without top-k,
    where a loss weighs its own log-probabilities.
    """
    texts = generate(
        policy, prompts, length, generator=generator, temperature=temperature
    )
    return texts[:, prompts.shape[1] :]


@checked
def answer_logits(
    policy: nn.Module,
    prompts: Int[Tensor, "batch prompt"],
    answers: Int[Tensor, "batch answer"],
) -> Float[Tensor, "batch answer vocab"]:
    """Return the scores from which each token of the answers was drawn.

    Those of token t stand where token t-1 was read: one place to the left.
    """
    texts = torch.cat([prompts, answers], dim=1)
    return policy(texts[:, :-1])[:, prompts.shape[1] - 1 :]


def picked(
    logits: Float[Tensor, "batch answer vocab"],
    answers: Int[Tensor, "batch answer"],
) -> Float[Tensor, "batch answer"]:
    """Return the log-probability of the token that was written."""
    return logits.log_softmax(-1).gather(-1, answers[..., None])[..., 0]


def log_probs(
    policy: nn.Module,
    prompts: Int[Tensor, "batch prompt"],
    answers: Int[Tensor, "batch answer"],
) -> Float[Tensor, "batch answer"]:
    """Return log π of each token of the answers, with its gradient."""
    return picked(answer_logits(policy, prompts, answers), answers)


def distance(
    policy: nn.Module,
    reference: nn.Module,
    prompts: Int[Tensor, "batch prompt"],
    answers: Int[Tensor, "batch answer"],
) -> float:
    """KL(π ‖ π_ref) in nats an answer, from answers that π has drawn.

    At each token the sum over the vocabulary is exact; only where the
    tokens stand is drawn.
    """
    with evaluating(policy), evaluating(reference):
        ours, theirs = (
            answer_logits(model, prompts, answers)
            for model in (policy, reference)
        )
    return divergence(ours, theirs).sum(1).mean().item()
