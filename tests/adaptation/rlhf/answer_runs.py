"""Ways to mend what was imitated, each judged in the same manner.

way    = how the policy learns; rate = its largest step; seed = of the draws
judged = [sampled, greedy, greedy where something is carried, KL, seconds]:
         shares of right answers, nats from the start, CPU seconds of the run
curve  = after so many steps: how often a sampled answer is right
"""

import copy
import time

import torch

from llmnotes.adaptation.rlhf import (
    ActorCritic,
    centred_advantages,
    distance,
    sample,
)
from llmnotes.adaptation.rlhf.preferences import (
    DPO,
    DPOWithNLL,
    keep_what_is_right,
    pairs,
    sampled_pairs,
    whole_answers,
)
from llmnotes.adaptation.rlhf.runs import (
    GRPO,
    PPO,
    Imitation,
    Process,
    Reinforce,
    generator,
    learn,
    right_share,
)
from llmnotes.adaptation.rlhf.task import (
    DIGITS,
    carries,
    checker,
    right_digits,
    spelled,
)
from tests.adaptation.rlhf import starts
from tests.adaptation.rlhf.starts import CHOICE, REPORT, TRAIN

STEPS, EVERY = 130, 10
GROUPS, ANSWERS = 32, 4
PPO_STEPS, BETA = STEPS, 2.0
HACKED_STEPS = 50
PAIRS, DPO_BETA = 6400, 1.0
HANDMADE = 2048  # pairs of right and forgetful answers


def on_policy(kind, reward, groups=GROUPS, answers=ANSWERS, **more):
    """Return a way: answers that the policy draws, step after step."""

    def run(policy, rate, seed):
        task = kind(
            policy, TRAIN, CHOICE, reward, seed, groups, answers, **more
        )
        history = learn(
            policy, task, rate=rate, steps=STEPS, seed=seed, every=EVERY
        )
        return policy, history, task

    return run


def digits(prompts, answers):
    """The share of right digits, as one reward for the whole answer."""
    return right_digits(prompts, answers).mean(1)


def keep(policy, rate, seed):
    """Draw once, keep what is right, imitate it."""
    kept = keep_what_is_right(policy, TRAIN, checker, seed, draws=2)
    task = Imitation(*kept, CHOICE, GROUPS * ANSWERS // 2, seed)
    history = learn(policy, task, rate=rate, steps=STEPS, seed=seed)
    return policy, history, task


def ppo(policy, rate, seed, beta=BETA, every=PPO_STEPS):
    """PPO on what the reward model says."""
    start = copy.deepcopy(policy)
    model, judge = ActorCritic(policy), starts.reward_model()
    task = PPO(model, start, TRAIN, CHOICE, judge, seed, beta=beta)
    history = learn(
        model, task, rate=rate, steps=PPO_STEPS, seed=seed, every=every
    )
    return model.gpt, history, task


def own_pairs(policy, seed):
    """Pairs of what the policy itself answers, judged by the checker."""
    found = sampled_pairs(policy, TRAIN, checker, seed, draws=8)
    return tuple(part[:PAIRS] for part in found)


def handmade(policy, seed):
    """Right against forgetful answers."""
    return tuple(part[:HANDMADE] for part in pairs(TRAIN))


def preferences(kind, made=own_pairs, beta=DPO_BETA, passes=2):
    """Return a way: DPO on pairs."""

    def run(policy, rate, seed):
        start = copy.deepcopy(policy).requires_grad_(False)
        task = kind(start, made(start, seed), CHOICE, 64, seed, beta=beta)
        steps = passes * task.steps
        history = learn(
            policy, task, rate=rate, steps=steps, seed=seed,
            every=steps // 2,
        )  # fmt: skip
        return policy, history, task

    return run


WAYS = {
    "keep what is right": keep,
    "GRPO": on_policy(GRPO, checker),
    "REINFORCE": on_policy(Reinforce, checker, GROUPS * ANSWERS, 1),
    "reward model and PPO": ppo,
    "DPO": preferences(DPO),
    # Not in the race:
    "GRPO without the spread": on_policy(
        GRPO, checker, advantages=centred_advantages
    ),
    "digits, summed": on_policy(GRPO, digits),
    "digit by digit": on_policy(Process, right_digits),
}


def learned(way, rate, seed):
    """A policy that has learned in one of the ways, and how it went."""
    policy = starts.policy().requires_grad_(True)
    began = time.process_time()
    policy, history, task = WAYS[way](policy, rate, seed)
    return policy, history, task, time.process_time() - began


def judged(policy, seed, prompts=REPORT):
    """[sampled, greedy, greedy with carries, KL] on problems held out."""
    right = checker(prompts, sample(policy, prompts, DIGITS, temperature=0))
    drawn = sample(policy, prompts, DIGITS, generator=generator(seed, 7))
    return [
        right_share(policy, prompts),
        right.mean().item(),
        right[carries(prompts)].mean().item(),
        distance(policy, starts.policy(), prompts, drawn),
    ]


def chosen(way, rate, seed):
    """Judged on problems that no report uses."""
    return [right_share(learned(way, rate, seed)[0], CHOICE)]


def reported(way, rate, seed):
    """Judged on problems that nobody has chosen by; its curve, dead groups."""
    policy, history, task, seconds = learned(way, rate, seed)
    curve = [(row.step, 1 - row.validation_loss) for row in history]
    dead = getattr(task, "dead", [])
    return [*judged(policy, seed), seconds, curve, dead]


def hacked(beta, rate, seed):
    """PPO at a price for KL: a row of five numbers at each look."""
    policy, judge = starts.policy().requires_grad_(True), starts.reward_model()
    rows, few = [], REPORT[:500]

    class Watched(PPO):
        """Tells more of itself whenever it is looked at."""

        def evaluate(self, model):
            look(model.gpt)
            return super().evaluate(model)

    def look(gpt):
        drawn = sample(gpt, few, DIGITS, generator=generator(seed, 8))
        with torch.no_grad():
            paid = judge(few, drawn).mean().item()
        rows.append(
            [paid, right_share(gpt, few),
             distance(gpt, starts.policy(), few, drawn)]
        )  # fmt: skip

    look(policy)
    model = ActorCritic(policy)
    task = Watched(
        model, starts.policy(), TRAIN, CHOICE, judge, seed, beta=beta
    )
    learn(model, task, rate=rate, steps=HACKED_STEPS, seed=seed, every=10)
    drawn = sample(policy, few[:5], DIGITS, generator=generator(seed, 9))
    texts = torch.cat([few[:5], drawn], dim=1)
    return [rows, [spelled(text) for text in texts]]


KINDS = {
    "DPO": (DPO, handmade),
    "DPO and NLL": (DPOWithNLL, handmade),
    "DPO on its own pairs": (DPO, own_pairs),
}


def margins(kind, beta, rate, passes, seed):
    """What DPO made of right and of forgetful answers.

    [loss, chosen's and rejected's gain in nats, sampled, greedy, carries,
    KL, sampled where nothing is carried]
    """
    start, (task, made) = starts.policy(), KINDS[kind]
    policy = copy.deepcopy(start).requires_grad_(True)
    run = preferences(task, made, beta, passes)
    policy, history, _ = run(policy, rate, seed)
    prompts, *answers = pairs(REPORT)
    with torch.no_grad():
        gains = [
            whole_answers(policy, prompts, y)
            - whole_answers(start, prompts, y)
            for y in answers
        ]
    means = [gain.mean().item() for gain in gains]
    plain = right_share(policy, REPORT[~carries(REPORT)])
    return [history[-1].loss, *means, *judged(policy, seed), plain]
