"""Small GPTs on rows of text: any width, any number of tokens, any order.

    block  = T = 64 tokens; row r holds the tokens rT to (r+1)T
    width  = n_embd of two blocks with heads of 8
    order  = numbers of rows, one after another: all that training reads
    unique = rows among them, epochs = how often each is read

Muon moves the matrices of the blocks, AdamW the rest. The rate rises for a
tenth of the steps, at most 50, and falls in a line to nothing at the last
one: each number of tokens has a schedule of its own.

Sources
- Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models",
  arXiv 2203.15556, §3.1 (the schedule must be as long as the run).
- Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural
  networks", kellerjordan.github.io/posts/muon.
- Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox).
"""

import dataclasses
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from llmnotes import train
from llmnotes.checks import check_sizes
from llmnotes.transformer.gpt import GPT, GPTConfig
from llmnotes.transformer.pretraining.muon import MuonAdamW

BLOCK, ROWS = 64, 8  # tokens in a row, rows in a step
HEAD, LAYERS = 8, 2
JUDGED = 128  # rows that are judged at once


def untrained(width: int, vocab: int, seed: int = 0) -> GPT:
    """A GPT that has read nothing yet."""
    torch.manual_seed(seed)
    return GPT(GPTConfig(vocab, BLOCK, width, LAYERS, width // HEAD))


def shuffled(count: int, seed: int, epoch: int) -> Int[Tensor, "count"]:
    """The numbers below `count`, in an order that never changes."""
    # The bits of a Philox key are fixed for ever, those of permutation not.
    bits = np.random.Philox(key=[seed, epoch]).random_raw(count)
    return torch.from_numpy(bits.argsort(kind="stable"))


def epochs_of(
    rows: int, unique: int, epochs: int, seed: int
) -> Int[Tensor, "read"]:
    """`unique` of the rows, drawn once, then shuffled anew in each epoch.

    Raises `ValueError` for less than one row or epoch, or too few rows.
    """
    check_sizes(unique=unique, epochs=epochs)
    if unique > rows:
        raise ValueError(f"unique: got {unique}, expected at most {rows} rows")
    chosen = shuffled(rows, seed, 0)[:unique]
    each = [shuffled(unique, seed, epoch + 1) for epoch in range(epochs)]
    return torch.cat([chosen[one] for one in each])


@dataclass(frozen=True, eq=False)
class Reading(train.LanguageModelling):
    """Predict every token of the rows of a text, in the order that is given.

    A batch depends on the step alone; ranks that share it take slices, so
    what is read does not depend on how many they are.
    """

    order: Int[Tensor, "read"]

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step."""
        size, block = self.config.batch_size, self.config.block
        rows = self.train_ids.unfold(0, block + 1, block)
        chosen = rows[self.order[step * size : (step + 1) * size]]
        return chosen[:, :-1], chosen[:, 1:]

    def evaluate(self, model: torch.nn.Module) -> float:
        """Loss on all of the validation text."""
        wide = dataclasses.replace(self.config, batch_size=JUDGED)
        return train.evaluate_all(model, self.validation_ids, wide)

    def facts(self) -> dict:
        """A checksum of both texts and of the order."""
        return super().facts() | {"order": zlib.crc32(self.order.numpy())}


def config(read: int, rate: float, seed: int = 0) -> train.TrainConfig:
    """The schedule of a run that reads so many rows."""
    steps = read // ROWS
    return train.TrainConfig(
        steps=steps,
        batch_size=ROWS,
        block=BLOCK,
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=min(50, steps // 10),
        eval_every=steps,
        seed=seed,
    )


def learn(
    width: int, vocab: int, order: Tensor, train_ids: Tensor,
    validation_ids: Tensor, *, rate: float, seed: int = 0,
) -> tuple[GPT, float]:  # fmt: skip
    """Train a new GPT; return it and its loss on the validation text."""
    model = untrained(width, vocab, seed)
    plan = config(len(order), rate, seed)
    task = Reading(train_ids, validation_ids, plan, order)
    optimizer = MuonAdamW(model.transformer, lr=rate)
    history = train.fit(model, task, plan, optimizer=optimizer, progress=False)
    return model, history[-1].validation_loss
