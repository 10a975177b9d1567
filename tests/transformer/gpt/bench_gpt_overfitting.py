"""Training beside validation loss, on a long text and on a short one."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from llmnotes import presets, train
from llmnotes.transformer.gpt import GPT, MINIGPT
from tests.both_losses import curves
from tests.transformer.gpt.training_runs import shakespeare

SEED = 0
STEPS, EVERY = 1500, 100
SHORT = 20_000  # characters


@dataclass(frozen=True, eq=False)
class Both(train.LanguageModelling):
    """The task of a text that is also judged on what it is learned from."""

    known: list[float] = field(default_factory=list)

    def evaluate(self, model):
        """The validation loss; as many training batches are noted."""
        known = train.evaluate(model, self.train_ids, self.config)
        self.known.append(known)
        return super().evaluate(model)


def losses(name, ids, other, steps=STEPS):
    """(curve, step, loss), each without dropout."""
    config = presets.model("gpt").preset("minigpt").training
    config = replace(config, steps=steps, eval_every=EVERY, seed=SEED)
    torch.manual_seed(SEED)
    model = GPT(MINIGPT)
    return curves(name, model, Both(ids, other, config), config)


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_training_beside_validation(record):
    torch.set_num_threads(1)
    ids, other = shakespeare()
    rows = [
        *losses("long text", ids, other),
        *losses("short text", ids[:SHORT], other),
    ]
    record(
        "losses",
        kind="trained",
        example="how the two losses of one model part",
        seeds=[SEED],
        spread={"loss": 0.1},
        title=(
            f"miniGPT on all of the training text and on its first {SHORT:,} "
            "characters"
        ),
        prediction=(
            "1,500 steps read 768,000 characters: the long text less than "
            "once, the short one 38 times. On the long one the two losses "
            "should stay within 0.1 of each other. On the short one training "
            "should fall below 1.3, and validation turn near step 500, at "
            "2.2, and end above 2.6."
        ),
        columns={"curve": "", "step": "", "loss": "nat"},
        rows=rows,
    )
