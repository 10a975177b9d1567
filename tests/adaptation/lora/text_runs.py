"""A GPT that has read Python's reference reads Shakespeare, in many ways.

way    = what of it is trained, and how
new    = its loss on Shakespeare afterwards; old: on Python's reference
α = r  = everywhere, so that LoRA's scaling is 1 and rsLoRA's √r
"""

import functools

import torch

from llmnotes import train
from llmnotes.adaptation.lora import (
    ALL_LINEAR,
    DoRA,
    LowRank,
    RankStabilised,
    add_lora,
)
from tests.adaptation.base_model import AFTER, BEFORE, base, ids

STEPS = 250
JUDGED = 40_000  # characters of a validation text
HELD_BACK = 0.05  # of the training text: what rates are chosen on


def full(model):
    """Every number is trained."""
    return model.requires_grad_(True)


def low_rank(rank, kind=LowRank, targets=ALL_LINEAR):
    """Return what puts adapters of α = r beside a model's matrices."""
    return functools.partial(
        add_lora, rank=rank, alpha=rank, targets=targets, kind=kind
    )


WAYS = {
    "full": full,
    "r = 1": low_rank(1),
    "r = 4": low_rank(4),
    "r = 16": low_rank(16),
    "r = 4, attention": low_rank(4, targets="attn.c_attn"),
    "DoRA, r = 4": low_rank(4, DoRA),
    "rsLoRA, r = 16": low_rank(16, RankStabilised),
}
SMALL, LARGE = (1e-4, 2e-4, 4e-4, 1e-3, 3e-3), (2e-3, 6e-3, 2e-2, 6e-2)
RATES = {way: LARGE for way in WAYS} | {"full": SMALL}


def config_of(rate, seed):
    """A TrainConfig: a linear schedule down to nothing."""
    return train.TrainConfig(
        steps=STEPS,
        batch_size=16,
        block=64,
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=STEPS // 16,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        eval_every=STEPS,
        eval_batches=1,
        seed=seed,
    )


def learned(way, rate, seed, text):
    """The model that has read a text in one of the ways."""
    model = base()  # the same for all; its seed is its own
    torch.manual_seed(seed)
    model = WAYS[way](model)
    config = config_of(rate, seed)
    task = train.LanguageModelling(text, text[:100], config)
    train.fit(model, task, config, progress=False)
    return model, config


def chosen(way, rate, seed):
    """Read most of the training text: the loss on the rest of it."""
    text, _ = ids(AFTER)
    cut = int(len(text) * (1 - HELD_BACK))
    model, config = learned(way, rate, seed, text[:cut])
    return [train.evaluate_all(model, text[cut:][:JUDGED], config)]


def reported(way, rate, seed):
    """Read the training text: the new loss, and the old."""
    text, judged = ids(AFTER)
    model, config = learned(way, rate, seed, text)
    return losses(model, config)


def losses(model, config):
    """[new, old] of a model."""
    return [
        train.evaluate_all(model, ids(name)[1][:JUDGED], config)
        for name in (AFTER, BEFORE)
    ]


RANKS = 0, 1, 2, 4, 8, 16, 32, 64, 128


def truncated(rate, seed):
    """What is left of full fine-tuning when ΔW is cut down to a rank.

    Returns the shares of ‖ΔW‖² in the first singular values, the mean over
    the matrices; the same of random matrices; and the new losses.
    """
    model, config = learned("full", rate, seed, ids(AFTER)[0])
    before = dict(base().named_parameters())
    with torch.no_grad():
        cut = {
            name: torch.linalg.svd(p - before[name], full_matrices=False)
            for name, p in model.named_parameters()
            if p.ndim == 2 and ".h." in f".{name}"
        }
        torch.manual_seed(seed)
        noise = [torch.randn_like(before[name]) for name in cut]
        found = []
        for rank in RANKS:
            for name, (u, s, v) in cut.items():
                kept = u[:, :rank] * s[:rank] @ v[:rank]
                model.get_parameter(name).copy_(before[name] + kept)
            found.append(losses(model, config)[0])
    drawn = [torch.linalg.svdvals(x) for x in noise]
    return [shares([s for _, s, _ in cut.values()]), shares(drawn), found]


def shares(spectra):
    """Of the squares of singular values, what the first ones hold."""
    return [
        torch.stack(
            [s[:rank].square().sum() / s.square().sum() for s in spectra]
        ).mean().item()
        for rank in RANKS
    ]  # fmt: skip
