"""Training beside validation loss: many dates and few."""

import pytest
import torch

from llmnotes.sequence.gru import GRU
from llmnotes.sequence.seq2seq import GeneralAttention, Seq2Seq, loss
from llmnotes.sequence.seq2seq import task as dates
from llmnotes.sequence.seq2seq.model import Translation
from llmnotes.train_config import TrainConfig
from tests.both_losses import curves

SEED = 0
STEPS, EVERY = 1200, 100
BATCH, FEW = 64, 5  # pairs in a batch, batches that hold all of the few
WIDTH = 64
TEST = 10**6  # seeds from here on are never trained on


class Both(Translation):
    """Dates, judged on days held out and on pairs that are learned from."""

    def __init__(self, batches):
        super().__init__(lambda step: dates.batch(BATCH, step % batches))
        self.known = []

    def evaluate(self, model):
        """The validation loss; that of the first batches is noted."""
        learned = [loss(model, self.batch(i)).item() for i in range(FEW)]
        self.known.append(sum(learned) / FEW)
        held_out = dates.batch(FEW * BATCH, TEST, held_out=True)
        return loss(model, held_out).item()


def losses(name, batches, steps=STEPS):
    """(curve, step, loss)."""
    torch.manual_seed(SEED)
    model = Seq2Seq(
        GRU, len(dates.SOURCE), len(dates.TARGET), WIDTH,
        GeneralAttention(WIDTH),
    )  # fmt: skip
    config = TrainConfig(
        steps=steps, learning_rate=3e-3, min_learning_rate=1.5e-4,
        weight_decay=0.0, eval_every=EVERY,
    )  # fmt: skip
    return curves(name, model, Both(batches), config)


@pytest.mark.trained
def bench_training_beside_validation(record):
    torch.set_num_threads(1)
    rows = [
        *losses("many pairs", STEPS),
        *losses("few pairs", FEW),
    ]
    record(
        "losses",
        kind="trained",
        example="how the two losses of one model part",
        seeds=[SEED],
        spread={"loss": 0.3},
        title=(
            f"Dates with attention, from {STEPS * BATCH:,} pairs and from "
            f"{FEW * BATCH}"
        ),
        prediction=(
            "ln 14 = 2.6 at the start. With new pairs at every step both "
            "losses should end below 0.05, as one: a day held out looks like "
            "any other. With 320 pairs, seen 240 times, training should go "
            "to 0 as well, and validation turn within 400 steps, near 0.7, "
            "and end above 1."
        ),
        columns={"curve": "", "step": "", "loss": "nat"},
        rows=rows,
    )
