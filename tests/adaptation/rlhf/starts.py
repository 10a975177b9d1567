"""What every run begins with: a policy that has imitated, a reward model.

kept = build/races/rlhf-…: their checkpoints, by the code that trained them

Each is trained once, the policy in a minute, and read again afterwards. Muon
needs half of AdamW's steps here.
"""

from pathlib import Path

import torch

from llmnotes import checkpoint, train
from llmnotes.adaptation.rlhf import RewardModel, task
from llmnotes.adaptation.rlhf.preferences import Comparisons, pairs
from llmnotes.adaptation.rlhf.runs import Imitation, generator
from llmnotes.transformer.gpt import GPT
from llmnotes.transformer.pretraining.muon import MuonAdamW
from tests import contests

TRAIN, HELD_OUT = task.problems()
CHOICE, REPORT = HELD_OUT[:500], HELD_OUT[500:]
SEED = 0


def policy():
    """The policy that has imitated the demonstrators."""
    torch.manual_seed(SEED)
    model = GPT(task.SHAPE)
    answers = task.demonstrations(TRAIN, generator(SEED))
    learned = Imitation(TRAIN, answers, CHOICE, 32, SEED)
    rule = MuonAdamW(model.transformer, lr=3e-3, ratio=12)
    return trained("policy", model, learned, config(1400, 3e-3, 10), rule)


def reward_model():
    """A reward model that has seen right answers beside forgetful ones."""
    torch.manual_seed(SEED)
    model = RewardModel(policy().requires_grad_(True))
    learned = Comparisons(pairs(TRAIN), pairs(CHOICE), 32, SEED)
    return trained("reward", model, learned, config(150, 1e-3, 0), None)


def config(steps, rate, warmup):
    """A linear fall to nothing."""
    return train.TrainConfig(
        steps=steps,
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=warmup,
        betas=(0.9, 0.98),
        weight_decay=0.0,
        eval_every=steps,
        seed=SEED,
    )


def trained(name, model, learned, config, rule):
    """Train a model, or read what was kept; frozen."""
    digest = contests.sources(__name__)[:24]
    folder = Path(contests.KEPT, f"rlhf-{name}-{digest}")
    if checkpoint.steps(folder)[-1:] == [config.steps]:
        checkpoint.load(folder, model)
    else:
        train.fit(
            model, learned, config, optimizer=rule, out=folder, resume=True,
            progress=False,
        )  # fmt: skip
    return model.requires_grad_(False).eval()
