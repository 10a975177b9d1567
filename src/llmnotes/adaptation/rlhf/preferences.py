"""Learning from pairs: a reward model, and DPO, which needs none.

pair      = (prompt, chosen, rejected): the right answer and a forgetful
            one, or two answers that a policy drew
reference = the policy that DPO begins with, never trained
margin    = by how much more the policy's favour for the chosen has grown

Sources
- Pang et al. 2024, "Iterative Reasoning Preference Optimization", arXiv
  2404.19733, equation 1 (the likelihood of the chosen beside DPO).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.adaptation.rlhf.advantages import alive
from llmnotes.adaptation.rlhf.losses import dpo_loss
from llmnotes.adaptation.rlhf.reward import RewardModel, bradley_terry_loss
from llmnotes.adaptation.rlhf.rollouts import log_probs, sample
from llmnotes.adaptation.rlhf.runs import generator, right_share
from llmnotes.adaptation.rlhf.task import DIGITS, carries, forgetful, right
from llmnotes.modes import evaluating
from llmnotes.task import Task


def pairs(
    prompts: Int[Tensor, "batch prompt"],
) -> tuple[Tensor, Tensor, Tensor]:
    """The right answer against the forgetful one, where they differ."""
    prompts = prompts[carries(prompts)]
    return prompts, right(prompts), forgetful(prompts)


def sampled_pairs(
    policy: nn.Module, prompts: Tensor, reward: Callable, seed: int,
    draws: int = 4, temperature: float = 1.7,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Draw some answers to each prompt: one that earned most, one least.

    Prompts whose answers all earned the same are left out. The temperature
    brings mistakes where the policy makes hardly any: without pairs from
    there, nothing holds it where it is right.
    """
    many = prompts.repeat_interleave(draws, dim=0)
    answers = sample(
        policy, many, DIGITS, generator=generator(seed),
        temperature=temperature,
    )  # fmt: skip
    rewards = reward(many, answers).view(-1, draws)
    answers = answers.view(len(prompts), draws, -1)
    living = alive(rewards).nonzero()[:, 0]
    best, worst = rewards.argmax(1)[living], rewards.argmin(1)[living]
    return prompts[living], answers[living, best], answers[living, worst]


class Pairs(Task):
    """Batches of pairs; each pass visits all of them once."""

    unit = "pairs"

    def __init__(self, pairs, judged, size: int, seed: int):
        self.pairs, self.judged = pairs, judged
        self.size, self.seed = size, seed

    @property
    def steps(self) -> int:
        """Of one pass; what is left over waits for the next."""
        return len(self.pairs[0]) // self.size

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the pairs of a step."""
        turn, place = divmod(step, self.steps)
        draw = generator(self.seed, turn)
        order = torch.randperm(len(self.pairs[0]), generator=draw)
        some = order[place * self.size :][: self.size]
        return tuple(part[some] for part in self.pairs)


class Comparisons(Pairs):
    """Bradley and Terry's model of which answer is preferred."""

    measure = "pairs ranked wrongly"

    def loss(self, model: RewardModel, batch) -> Tensor:
        """Raise the reward of the chosen above that of the rejected."""
        prompts, chosen, rejected = batch
        return bradley_terry_loss(
            model(prompts, chosen), model(prompts, rejected)
        )

    def evaluate(self, model: RewardModel) -> float:
        """The share of pairs whose worse answer earns as much or more."""
        return 1 - ranked(model, *self.judged)


def ranked(model: RewardModel, prompts, chosen, rejected) -> float:
    """The share of pairs whose better answer earns more."""
    with evaluating(model):
        higher = model(prompts, chosen) > model(prompts, rejected)
    return higher.float().mean().item()


class DPO(Pairs):
    """The policy is its own reward model: β · log π/π_ref."""

    measure = "mistakes"

    def __init__(self, reference: nn.Module, *about, beta: float = 0.5):
        super().__init__(*about)
        self.reference, self.beta = reference, beta

    def loss(self, model: nn.Module, batch) -> Tensor:
        """-log σ(β · margin)."""
        found = [whole_answers(model, batch[0], y) for y in batch[1:]]
        with torch.no_grad():
            before = [
                whole_answers(self.reference, batch[0], y) for y in batch[1:]
            ]
        return dpo_loss(*found, *before, beta=self.beta)

    def evaluate(self, model: nn.Module) -> float:
        """How often a sampled answer is wrong."""
        return 1 - right_share(model, self.judged)


class DPOWithNLL(DPO):
    """DPO that also imitates the chosen, so that they stay likely.

    Source: Pang et al. 2024, equation 1.
    """

    weight = 1.0

    def loss(self, model: nn.Module, batch) -> Tensor:
        """Add minus the mean log-probability of a chosen token."""
        imitation = -log_probs(model, *batch[:2]).mean()
        return super().loss(model, batch) + self.weight * imitation


def whole_answers(
    policy: nn.Module,
    prompts: Int[Tensor, "batch prompt"],
    answers: Int[Tensor, "batch answer"],
) -> Float[Tensor, "batch"]:
    """Return log π of whole answers: the sum over their tokens."""
    return log_probs(policy, prompts, answers).sum(1)


def keep_what_is_right(
    policy: nn.Module, prompts: Tensor, reward: Callable, seed: int,
    draws: int = 4,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Draw some answers to each prompt; keep those that earn a reward.

    To be imitated then: the simplest way to learn from a checker.
    """
    prompts = prompts.repeat_interleave(draws, dim=0)
    answers = sample(policy, prompts, DIGITS, generator=generator(seed))
    kept = reward(prompts, answers) > 0
    return prompts[kept], answers[kept]


def best_of(
    policy: nn.Module, prompts: Tensor, score: Callable, seed: int, n: int
) -> Int[Tensor, "batch answer"]:
    """Draw n answers to each prompt; return the one with the best score."""
    many = prompts.repeat_interleave(n, dim=0)
    answers = sample(policy, many, DIGITS, generator=generator(seed))
    with torch.no_grad():
        best = score(many, answers).view(-1, n).argmax(1)
    return answers.view(len(prompts), n, -1)[torch.arange(len(best)), best]


def vote(
    policy: nn.Module, prompts: Tensor, seed: int, n: int
) -> Int[Tensor, "batch answer"]:
    """Draw n answers to each prompt; return one that came most often."""

    def backers(many, answers):
        rows = answers.view(len(prompts), n, 1, -1)
        return (rows == rows.transpose(1, 2)).all(-1).sum(2).float()

    return best_of(policy, prompts, backers, seed, n)
