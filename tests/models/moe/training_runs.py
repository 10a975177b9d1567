"""Mixtures that are trained: beside dense models, and on two sources.

coefficient = router_aux_loss_coef, 0 for a run that is not balanced
bits        = mutual information between a choice of expert and something
              about the token: how much the one tells of the other
"""

from dataclasses import replace

import torch

from llmnotes import data, train
from llmnotes.models.llama import LAPTOP as LLAMA
from llmnotes.models.llama import Llama
from llmnotes.models.moe import LAPTOP, Balanced, Mixtral, watched
from llmnotes.modes import evaluating
from tests.transformer.gpt.training_runs import NANO, config_of, shakespeare

STEPS = 500
HELD_BACK = 0.05  # of the training text: what rates are chosen on
MIXTURE = "mixture, 2 of 8"
DENSE = "dense, as many flops"
LARGE = "dense, as many parameters"
CONTESTANTS = {
    MIXTURE: (Mixtral, LAPTOP),
    DENSE: (Llama, LLAMA),
    LARGE: (
        Llama,
        replace(
            LLAMA,
            intermediate_size=LAPTOP.num_local_experts
            * LAPTOP.intermediate_size,
        ),
    ),
}


def chosen(name, rate, seed):
    """Train on most of the training text: the loss on the rest."""
    ids, _ = shakespeare()
    cut = int(len(ids) * (1 - HELD_BACK))
    return [loss_of(name, rate, seed, ids[:cut], ids[cut:])]


def raced(name, rate, seed):
    """Train on the training text: the loss on the validation's."""
    return [loss_of(name, rate, seed, *shakespeare())]


def loss_of(name, rate, seed, ids, other, steps=STEPS):
    """Train a contestant on one core; returns its loss."""
    kind, shape = CONTESTANTS[name]
    model = made(kind, shape, seed)
    config = settings(steps, seed, rate)
    learn(model, ids, other, config)
    return train.evaluate_all(model, other, config)


def made(kind, shape, seed):
    """A model as it starts."""
    torch.manual_seed(seed)
    return kind(shape)


def settings(steps, seed, rate):
    """How all of them are trained."""
    return config_of(
        NANO, steps, seed, rate, min_learning_rate=0.0, schedule="linear",
        clip=1.0, eval_every=steps, eval_batches=1,
    )  # fmt: skip


def learn(model, ids, other, config):
    """Train; a mixture is balanced meanwhile."""
    mixture = isinstance(model, Mixtral)
    task = Balanced if mixture else train.LanguageModelling
    train.fit(model, task(ids, other, config), config, progress=False)


SOURCES = "tiny_shakespeare", "python_reference"
LONGEST = 600_000  # characters of each source
WINDOWS = 200  # of validation, from each source


def mixed(longest=LONGEST):
    """Training ids of both sources in a row, validation ids of each."""
    texts = [data.text(name)[:longest] for name in SOURCES]
    vocabulary = data.CharVocabulary("".join(texts))
    parts = [data.split(vocabulary.encode(text)) for text in texts]
    learned = torch.cat([ids for ids, _ in parts])
    return learned, [ids for _, ids in parts], vocabulary.size


def specialised(coefficient, seed, steps=STEPS, longest=LONGEST):
    """Train on both sources; what the experts of each layer are asked for."""
    ids, others, size = mixed(longest)
    shape = replace(LAPTOP, vocab_size=size, router_aux_loss_coef=coefficient)
    model = made(Mixtral, shape, seed)
    config = settings(steps, seed, 4e-3)
    learn(model, ids, torch.cat(others), config)
    loss = train.evaluate_all(model, torch.cat(others), config)
    return [told(*layer) for layer in asked(model, others)], loss


def asked(model, others):
    """For each layer (source, character, expert) of every choice."""
    block = model.n_positions
    found = [([], [], []) for _ in model.model.layers]
    for source, ids in enumerate(others):
        rows = ids[: len(ids) // block * block].view(-1, block)[:WINDOWS]
        with evaluating(model), watched(model) as routings:
            model(rows)
        for layer, routing in zip(found, routings, strict=True):
            experts = routing.experts
            characters = rows.reshape(-1, 1).expand_as(experts)
            places = torch.full_like(experts, source), characters, experts
            for column, more in zip(layer, places, strict=True):
                column.append(more.flatten())
    return [[torch.cat(column) for column in layer] for layer in found]


def told(sources, characters, experts):
    """Bits about the source, bits about the character, the busiest share."""
    shares = experts.bincount() / len(experts)
    return (
        bits(sources, experts),
        bits(characters, experts),
        shares.max().item(),
    )


def bits(one, other):
    """Mutual information of two rows of whole numbers, in bits."""
    wide = int(other.max()) + 1
    joint = (one * wide + other).bincount(minlength=(one.max() + 1) * wide)
    joint = joint.view(-1, wide).double() / len(one)
    alone = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    there = joint > 0
    return (joint[there] * (joint[there] / alone[there]).log2()).sum().item()
