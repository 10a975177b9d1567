"""With and without selection: trained at one length, tested at many."""

from functools import partial

import torch

from llmnotes.models.mamba import FixedMamba, MambaConfig, QuickMamba
from llmnotes.models.mamba.task import VOCAB, Recall, copying, induction, right
from llmnotes.train import fit
from llmnotes.train_config import TrainConfig

LENGTH = 64
TASKS = {
    "selective copying": (copying, 2000, (32, 64, 128, 256, 512)),
    "induction": (induction, 1500, (64, 256, 1024, 4096)),
}
CONTESTANTS = {"Mamba": QuickMamba, "without selection": FixedMamba}


def built(name, seed):
    """A contestant as it starts, of about 20,000 parameters."""
    torch.manual_seed(seed)
    config = MambaConfig(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2)
    return CONTESTANTS[name](config)


def found(task, name, rate, seed, steps=None):
    """Train one; the share of right answers at each length.

    The first number chooses a rate: at the length that was trained on, from
    texts that are not among those of the others.
    """
    draw, usual, lengths = TASKS[task]
    steps = steps or usual
    model, asked = built(name, seed), Recall(draw, LENGTH, seed)
    config = TrainConfig(
        steps=steps,
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="cosine",
        betas=(0.9, 0.98),
        warmup=min(50, steps - 1),
        eval_every=steps,
        weight_decay=0.0,  # it would pull A_log to 0, see the page
        seed=seed,
    )
    fit(model, asked, config, progress=False)
    score = partial(right, model, draw)
    return [1 - asked.evaluate(model), *map(score, lengths)]
