"""Training on several ranks: the run of one process, shared out.

    rank  = a process of torch.distributed, see `parallel.data_parallel`
    whole = the optimizer as one process would have it, with all moments

Each rank takes its rows of every batch and keeps the moments of its shard of
the weights (ZeRO-1). A folder holds what one process would have written
there: any number of ranks, or none, goes on from it.
"""

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from llmnotes import checkpoint, data
from llmnotes.parallel.data_parallel import agree, seed_masks, share, weight
from llmnotes.parallel.zero import ShardedOptimizer
from llmnotes.progress import Meter
from llmnotes.run import History, Run, as_json
from llmnotes.stopping import Stopped, hold, stop_on_ctrl_c
from llmnotes.task import Task, a_loss, weighed
from llmnotes.train import (
    LanguageModelling,
    adamw,
    evaluate_all,
    precision,
    steps,
)
from llmnotes.train_config import TrainConfig


def update(model, optimizer, task, batch, config, step) -> Tensor:
    """One step of all ranks together. Returns the loss of the batch."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    for group in optimizer.param_groups:
        group["lr"] = config.rate(step)
    optimizer.zero_grad()
    seed_masks(config.seed, step, rank)
    mine = share(batch, rank, ranks)
    device = next(model.parameters()).device
    total = torch.zeros((), device=device)
    if part := weight(task, mine, batch):  # else no target is here
        for piece, divisor in weighed(task, mine, config.accumulate):
            with precision(config, device):
                found = a_loss(task.loss(model, piece)) * (part / divisor)
            found.backward()
            total += found.detach()
    dist.all_reduce(total)
    if config.clip:
        optimizer.clip(config.clip)
    optimizer.step()
    return total


class RankedRun(Run):
    """A run of which rank 0 writes the checkpoints and all read them."""

    home: Path | None = None  # where they lie; `out` is rank 0's only

    def begin(self, resume: bool) -> None:
        """Write the first checkpoint, or go on from the newest one."""
        self.home = self.out
        if self.home is not None:  # before anybody writes
            agree("out", {"steps": str(checkpoint.steps(self.home))})
        super().begin(resume)
        if dist.get_rank():
            self.out = None

    def save(self) -> None:
        """Make the state whole, and let rank 0 write it."""
        if self.home is None:
            return
        whole = self.whole()
        if dist.get_rank() == 0:
            sharded, self.optimizer = self.optimizer, whole
            try:
                super().save()
            finally:
                self.optimizer = sharded
        dist.barrier()

    def stopped(self) -> Stopped:
        """Save, and return what to raise."""
        self.save()
        return Stopped(f"stopped after step {self.step}, saved in {self.home}")

    def whole(self) -> torch.optim.Optimizer:
        """AdamW with all moments; every rank takes part."""
        found = adamw(self.model, self.config)
        state = self.optimizer.gathered()
        for name, p in self.model.named_parameters():
            if name in state:
                found.state[p] = state[name]
        return found

    def load(self) -> None:
        """Read the newest checkpoint, and keep this rank's shard of it."""
        sharded, self.optimizer = (
            self.optimizer,
            adamw(self.model, self.config),
        )
        try:
            super().load()
            names = {p: name for name, p in self.model.named_parameters()}
            state = {names[p]: x for p, x in self.optimizer.state.items()}
        finally:
            self.optimizer = sharded
        sharded.load(
            {n: p.detach() for n, p in self.model.named_parameters()
             if p.requires_grad}
        )  # fmt: skip
        sharded.scatter(state)
        agree("out", {"step": str(self.step)})


class Together:
    """Ctrl-C on any rank: all stop after the same step."""

    def __init__(self, asked: threading.Event, device: torch.device):
        self.asked, self.device = asked, device

    def is_set(self) -> bool:
        """Whether any rank was asked to stop."""
        flag = torch.tensor(float(self.asked.is_set()), device=self.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag)


def fit(
    model: nn.Module,
    task: Task,
    config: TrainConfig,
    *,
    final=None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    about: dict | None = None,
) -> History:
    """Train a model in place on all ranks: `llmnotes.train.fit`, by AdamW.

    Every rank calls it with the same arguments; `out` is a folder that all
    can read. Raises `ValueError` for a batch with fewer rows than ranks and
    what `llmnotes.train.fit` does.
    """
    ranks, first = dist.get_world_size(), dist.get_rank() == 0
    rows = config.batch_size
    if rows < ranks:
        raise ValueError(
            f"batch_size: got {rows}, expected at least a row for each of "
            f"{ranks} ranks"
        )
    sharded = ShardedOptimizer(model, lambda _: adamw(model, config))
    folder = None if out is None else Path(out)
    run = RankedRun(
        model, task, sharded, config, folder, as_json("about", about)
    )
    with hold(out) if first else nullcontext():
        run.begin(resume)
        with (
            stop_on_ctrl_c(folder) as asked,
            Meter(run, progress and first) as meter,
        ):
            stop = Together(asked, run.device)
            steps(run, -float("inf"), final, stop, meter, update)
            run.end(final)
    return run.history


def train(
    model: nn.Module,
    train_ids: data.Ids,
    validation_ids: data.Ids,
    config: TrainConfig,
    *,
    task: type[LanguageModelling] = LanguageModelling,
    **options: Any,
) -> History:
    """Train a language model on all ranks: `llmnotes.train.train`.

    `options` are those of `fit`.
    """
    device = next(model.parameters()).device
    named = {"train_ids": train_ids, "validation_ids": validation_ids}
    texts = [data.row(name, ids).to(device) for name, ids in named.items()]
    learned = task(*texts, config)
    return fit(
        model, learned, config,
        final=lambda: evaluate_all(model, learned.validation_ids, config),
        **options,
    )  # fmt: skip
