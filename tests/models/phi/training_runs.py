"""The same Phi on clean text and on noisy text of equal size.

share  = how much of the text is spoilt
letter = drawn anew from the alphabet, wherever it stands
line   = its letters in a random order; a reader sees which lines are spoilt
"""

import random

import torch

from llmnotes import data, train
from llmnotes.models.phi import LAPTOP, Phi
from tests.models.phi.blocks import SerialBlock
from tests.transformer.gpt.training_runs import NANO, config_of

STEPS = 500
HELD_BACK = 0.05  # of the training text: what rates are chosen on


def letters(text, share, draw):
    """Each letter is replaced by any of the alphabet, with this chance."""
    alphabet = sorted(set(text))
    return "".join(
        draw.choice(alphabet) if draw.random() < share else letter
        for letter in text
    )


def lines(text, share, draw):
    """Each line is shuffled with this chance; its end stays."""
    return "\n".join(
        "".join(draw.sample(line, len(line)))
        if draw.random() < share
        else line
        for line in text.split("\n")
    )


def fewer(text, share, draw):
    """Each line is left out with this chance: what is left is clean."""
    rest = [x for x in text.split("\n") if draw.random() >= share]
    return "\n".join(rest)


class SerialPhi(Phi):
    """A Phi whose MLP reads what attention has added."""

    block = SerialBlock


CLEAN, SERIAL = "clean", "serial, clean"
# name -> (how the text is spoilt, how much of it)
TEXTS = {
    CLEAN: (letters, 0.0),
    "20 % of the letters": (letters, 0.2),
    "20 % of the lines": (lines, 0.2),
    "50 % of the lines": (lines, 0.5),
    "50 % of the lines left out": (fewer, 0.5),
}


def chosen(name, rate, seed):
    """Train on most of the training text: the loss on the rest, clean."""
    text, _ = halves()
    cut = int(len(text) * (1 - HELD_BACK))
    return [loss_of(name, rate, seed, text[:cut], text[cut:])]


def reported(name, rate, seed):
    """Train on the training text: the loss on the validation's, clean."""
    return [loss_of(name, rate, seed, *halves())]


def halves():
    """Tiny Shakespeare, to train on and to validate on."""
    text = data.text("tiny_shakespeare")
    cut = len(data.split(range(len(text)))[0])
    return text[:cut], text[cut:]


def loss_of(name, rate, seed, text, other, steps=STEPS):
    """Train a contestant on one core; returns its loss."""
    spoil, share = TEXTS.get(name, TEXTS[CLEAN])
    vocabulary = data.CharVocabulary("".join(halves()))
    spoilt = spoil(text, share, random.Random(seed))
    torch.manual_seed(seed)
    model = (SerialPhi if name == SERIAL else Phi)(LAPTOP)
    config = config_of(
        NANO, steps, seed, rate, min_learning_rate=0.0, schedule="linear",
        clip=1.0, eval_every=steps,
    )  # fmt: skip
    ids, clean = map(vocabulary.encode, (spoilt, other))
    task = train.LanguageModelling(ids, clean, config)
    train.fit(model, task, config, progress=False)
    return train.evaluate_all(model, clean, config)
