r"""A training on ranks that goes on after any of them was killed.

    batch(step) = tokens and targets of a step, the same on all ranks
    folder      = the checkpoints, see `parallel.checkpointing`

    torchrun --nproc-per-node 2 --max-restarts 1 \
        -m llmnotes.parallel.gpt2_parallel.training run

Torchrun starts all ranks anew when one has died; each goes on from the last
checkpoint, which is whole. A step depends on the weights, the moments and its
number, and on nothing else, so the end is the same to the bit.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch.distributed as dist

from llmnotes import corpora
from llmnotes.parallel.checkpointing import Checkpoints
from llmnotes.parallel.data_parallel import join
from llmnotes.parallel.gpt2_parallel.replicas import Shards
from llmnotes.transformer.gpt import GPTConfig
from llmnotes.transformer.gpt2_by_hand import initial, loops
from llmnotes.transformer.gpt2_by_hand.model import Ids

SMALL = GPTConfig(256, n_positions=32, n_embd=48, n_layer=2, n_head=3)
Batch = Callable[[int], tuple[Ids, Ids]]


def train(
    ranks: Shards, batch: Batch, steps: int, folder: str | Path,
    every: int = 2, **options,
) -> float | None:  # fmt: skip
    """Steps up to number `steps`, a checkpoint after every few of them.

    Goes on from the newest checkpoint in the folder. Returns the last loss,
    None if there was nothing left to do.
    """
    kept = Checkpoints(folder)
    if kept.steps():
        resume(ranks, kept)
    model = ranks.model
    while model.steps < steps:
        ranks.step(*batch(model.steps), **options)
        if model.steps % every == 0 or model.steps == steps:
            facts = {"step": model.steps}
            kept.save(model.steps, ranks.parts(), facts)
    return model.loss


def resume(ranks: Shards, kept: Checkpoints) -> None:
    """Go on from the newest checkpoint, of any number of ranks."""
    step = kept.newest()
    moments = [p for p in ranks.parts() if not p.name.endswith("params")]
    facts = kept.load([*ranks.weights_whole(), *moments], step)
    ranks.model.steps = facts["step"]


def letters(step: int, rows: int = 4, length: int = 32) -> tuple[Ids, Ids]:
    """Bytes of the language reference, and those that follow them."""
    text = np.frombuffer(corpora.text("python_reference").encode(), np.uint8)
    draw = np.random.default_rng([step])
    starts = draw.integers(0, len(text) - length, rows)
    found = np.stack([text[i : i + length + 1] for i in starts])
    return found[:, :-1].astype(np.int32), found[:, 1:].astype(np.int32)


def main(folder: str, steps: int = 6, kernels=loops) -> None:
    """What each rank of torchrun does; rank 0 tells."""
    with join():
        ranks = Shards(SMALL, initial(SMALL), kernels)
        loss = train(ranks, letters, steps, folder, lr=1e-3)
        if dist.get_rank() == 0:
            print(f"{dist.get_world_size()} ranks, step {steps}: loss {loss}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
