"""Learning from rewards: batches that the policy writes itself.

task     = what `llmnotes.train.fit` asks for; a batch is a function of
           (seed, step) and of the policy's weights
reward   = reward(prompts, answers), a number for each answer
groups   = prompts of a step; size = answers to each of them
epochs   = steps that are made with the same answers
mistakes = 1 - the mean probability of the right answer: no draw, no noise

Sources
- Stiennon et al. 2020, "Learning to summarize from human feedback", arXiv
  2009.01325, §3.4 (the KL in the reward, token by token).
- Shao et al. 2024, "DeepSeekMath", arXiv 2402.03300, §4.1 (GRPO; §4.1.3:
  rewards of the process).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from llmnotes import train
from llmnotes.adaptation.rlhf.advantages import (
    alive,
    gae,
    group_advantages,
    whitened,
)
from llmnotes.adaptation.rlhf.kl import k1
from llmnotes.adaptation.rlhf.losses import (
    grpo_loss,
    kl_penalty,
    per_answer,
    ppo_loss,
    reinforce_loss,
    value_loss,
)
from llmnotes.adaptation.rlhf.reward import ActorCritic
from llmnotes.adaptation.rlhf.rollouts import log_probs, picked, sample
from llmnotes.adaptation.rlhf.task import DIGITS, right
from llmnotes.modes import evaluating
from llmnotes.task import Task

Reward = Callable[[Tensor, Tensor], Tensor]


def generator(*numbers: int) -> torch.Generator:
    """Draws that are a function of a few numbers."""
    seed = np.random.default_rng(numbers).integers(2**63)
    return torch.Generator().manual_seed(int(seed))


def learn(
    model: nn.Module, task: Task, *, rate: float, steps: int, seed: int = 0,
    decay: float = 0.0, warmup: int = 0, every: int | None = None,
    progress: bool = False,
) -> train.History:  # fmt: skip
    """Train in place; the rate falls in a line to nothing, as in trl."""
    config = train.TrainConfig(
        steps=steps,
        batch_size=1,  # a task of ours makes its own batches
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=warmup,
        betas=(0.9, 0.98),
        weight_decay=decay,
        eval_every=every or steps,
        seed=seed,
    )
    return train.fit(model, task, config, progress=progress)


def right_share(policy: nn.Module, prompts: Tensor) -> float:
    """The mean probability of the right answer: what sampling would find."""
    with evaluating(policy):
        found = log_probs(policy, prompts, right(prompts))
    return found.sum(1).exp().mean().item()


class Imitation(Task):
    """Say what was demonstrated: cross-entropy of the answer's tokens."""

    unit, measure = "answers", "mistakes"

    def __init__(self, prompts, answers, judged, size: int, seed: int):
        self.prompts, self.answers, self.judged = prompts, answers, judged
        self.size, self.seed = size, seed

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Draw some of the demonstrations."""
        draw = generator(self.seed, step)
        some = torch.randint(len(self.prompts), (self.size,), generator=draw)
        return self.prompts[some], self.answers[some]

    def loss(self, model: nn.Module, batch) -> Tensor:
        """Minus the mean log-probability of a token."""
        return -log_probs(model, *batch).mean()

    def evaluate(self, model: nn.Module) -> float:
        """How often a sampled answer is wrong."""
        return 1 - right_share(model, self.judged)


class GRPO(Task):
    """Answers to the same prompt are measured by each other."""

    unit, measure = "answers", "mistakes"

    def __init__(
        self, policy: nn.Module, prompts, judged, reward: Reward, seed: int,
        groups: int = 16, size: int = 8, *, average=per_answer,
        advantages=group_advantages, reference=None, beta: float = 0.0,
    ):  # fmt: skip
        self.policy, self.prompts, self.judged = policy, prompts, judged
        self.reward, self.seed = reward, seed
        self.groups, self.answers, self.size = groups, size, groups * size
        self.average, self.advantages = average, advantages
        self.reference, self.beta = reference, beta
        self.dead: list[float] = []  # share of groups without a gradient

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw prompts, several answers to each, and their advantages."""
        draw = generator(self.seed, step)
        some = torch.randint(len(self.prompts), (self.groups,), generator=draw)
        prompts = self.prompts[some].repeat_interleave(self.answers, dim=0)
        answers = sample(self.policy, prompts, DIGITS, generator=draw)
        return prompts, answers, self.judge(self.reward(prompts, answers))

    def judge(self, rewards: Tensor) -> Tensor:
        """Turn rewards into advantages; late in a run all may be equal."""
        rewards = rewards.view(self.groups, self.answers)
        living = alive(rewards)
        self.dead.append(1 - living.float().mean().item())
        if not living.any():
            return torch.zeros_like(rewards).flatten()
        return self.advantages(rewards).flatten()

    def loss(self, model: nn.Module, batch) -> Tensor:
        """One step for each batch, so the old policy is the new one."""
        prompts, answers, advantages = batch
        new, penalty = log_probs(model, prompts, answers), None
        if self.beta:
            with torch.no_grad():
                reference = log_probs(self.reference, prompts, answers)
            penalty = kl_penalty(new, None, reference, beta=self.beta)
        return grpo_loss(
            new, None, advantages, average=self.average, penalty=penalty
        )

    def evaluate(self, model: nn.Module) -> float:
        """How often a sampled answer is wrong."""
        return 1 - right_share(model, self.judged)


class Reinforce(GRPO):
    """One answer to each prompt; the baseline is the batch's mean reward."""

    def judge(self, rewards: Tensor) -> Tensor:
        """How much better than the others of the batch."""
        return rewards - rewards.mean()

    def loss(self, model: nn.Module, batch) -> Tensor:
        """-A · log π of whole answers."""
        prompts, answers, advantages = batch
        return reinforce_loss(log_probs(model, prompts, answers), advantages)


class Process(GRPO):
    """A reward for each digit: a digit answers for itself and what follows.

    Source: Shao et al. 2024, §4.1.3.
    """

    def judge(self, rewards: Tensor) -> Tensor:
        """Rewards from each digit on, less the group's mean of them."""
        to_go = rewards.flip(1).cumsum(1).flip(1)
        to_go = to_go.view(self.groups, self.answers, -1)
        spread = to_go.std(dim=1, keepdim=True) + 1e-4
        found = (to_go - to_go.mean(dim=1, keepdim=True)) / spread
        return found.flatten(0, 1)

    def loss(self, model: nn.Module, batch) -> Tensor:
        """PPO's loss, since each token has its own advantage."""
        prompts, answers, advantages = batch
        new = log_probs(model, prompts, answers)
        return ppo_loss(new, None, advantages)


class PPO(Task):
    """A critic says what was expected; a nat of KL costs β at each token."""

    unit, measure = "answers", "mistakes"
    epochs = 2
    # Both read the same layers: a critic that weighs more teaches them to
    # tell rewards apart, at the expense of the policy.
    critic_weight = 0.05

    def __init__(
        self, model: ActorCritic, reference: nn.Module, prompts, judged,
        reward: Reward, seed: int, size: int = 128, *, beta: float = 0.2,
    ):  # fmt: skip
        self.model, self.reference = model, reference
        self.prompts, self.judged, self.reward = prompts, judged, reward
        self.seed, self.size, self.beta = seed, size, beta
        self.rollout: tuple = ()

    def batch(self, step: int) -> tuple:
        """Draw new answers in every second step."""
        turn, again = divmod(step, self.epochs)
        if not again or not self.rollout:
            self.rollout = self.collect(turn)
        return self.rollout

    @torch.no_grad()
    def collect(self, turn: int) -> tuple:
        """Answers, what they earned, and what the critic thought of them."""
        draw = generator(self.seed, turn)
        some = torch.randint(len(self.prompts), (self.size,), generator=draw)
        prompts = self.prompts[some]
        answers = sample(self.model.gpt, prompts, DIGITS, generator=draw)
        logits, values = self.model(prompts, answers)
        old = picked(logits, answers)
        reference = log_probs(self.reference, prompts, answers)
        rewards = -self.beta * k1(old, reference)
        rewards[:, -1] += self.reward(prompts, answers)
        advantages, returns = gae(rewards, values)
        return prompts, answers, old, whitened(advantages), returns

    def loss(self, model: nn.Module, batch) -> Tensor:
        """The policy's loss and the critic's."""
        prompts, answers, old, advantages, returns = batch
        logits, values = model(prompts, answers)
        policy = ppo_loss(picked(logits, answers), old, advantages)
        return policy + self.critic_weight * value_loss(values, returns)

    def evaluate(self, model: nn.Module) -> float:
        """How often a sampled answer is wrong."""
        return 1 - right_share(model.gpt, self.judged)
