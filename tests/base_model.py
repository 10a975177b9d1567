"""The small GPT that adaptation starts from: it has read Python's reference.

alphabet = the characters of both texts, so that the other can follow
kept     = build/races/base-…: its checkpoint, by the code that trained it

It is trained once, in a minute, and read again afterwards.
"""

from dataclasses import replace
from pathlib import Path

import torch

from llmnotes import checkpoint, data, train
from llmnotes.transformer.gpt import GPT, NANOGPT_CPU
from llmnotes.transformer.training_step import FusedGPT
from tests import contests

BEFORE, AFTER = "python_reference", "tiny_shakespeare"
STEPS = 1500
CONFIG = train.TrainConfig(
    steps=STEPS,
    batch_size=16,
    block=NANOGPT_CPU.n_positions,
    learning_rate=2e-3,
    min_learning_rate=2e-4,
    betas=(0.9, 0.98),
    eval_every=STEPS,
)


def vocabulary():
    """All characters of both texts."""
    return data.CharVocabulary(data.text(BEFORE) + data.text(AFTER))


def ids(name):
    """A text's training and validation ids, in the common alphabet."""
    return data.split(vocabulary().encode(data.text(name)))


def shape():
    """nanoGPT's CPU setting with the common alphabet."""
    return replace(NANOGPT_CPU, vocab_size=vocabulary().size)


def base() -> GPT:
    """The model that has read Python's reference; trains it if need be."""
    folder = Path(contests.KEPT, f"base-{contests.sources(__name__)[:24]}")
    torch.manual_seed(CONFIG.seed)
    model = FusedGPT(shape())
    if checkpoint.steps(folder)[-1:] != [STEPS]:
        task = train.LanguageModelling(*ids(BEFORE), CONFIG)
        train.fit(model, task, CONFIG, out=folder, resume=True)
    plain = GPT(shape())
    checkpoint.load(folder, plain)
    return plain.eval()
