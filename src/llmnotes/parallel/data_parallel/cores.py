"""One model trained by several cores, each with its part of every batch.

    rank   = which of the cores; 0 is the process that calls
    grads  = (cores, parameters), everybody's gradients side by side

At a width of 128 operations are small. PyTorch's own threads cut each one
into pieces, and handing out the pieces costs about what it saves. Threads of
Python wait for each other between operations. So here each core is a
process: it takes its sequences through the whole model, adds up what all
have found, and moves its share of the parameters, which lie in memory that
all processes see. Per step they wait for each other three times.

Sources
- Rajbhandari et al. 2019, "ZeRO", arXiv 1910.02054, §5.1: every process
  keeps the optimizer's state of its own share (P_os).
"""

import contextlib
from collections.abc import Callable
from multiprocessing.context import BaseContext
from threading import BrokenBarrierError

import torch
from jaxtyping import Int
from torch import Tensor, multiprocessing, nn

from llmnotes import train

PATIENCE = 120  # seconds until a silent process counts as dead


class Worker:
    """What a process holds; `step` is the same program in all of them."""

    def __init__(self, rank, shared, model, optimizer, config, ids):
        self.rank, self.shared = rank, shared
        self.grads, self.losses, self.barrier = shared[:3]
        self.model, self.config, self.ids = model, config, ids
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = optimizer(model, config)
        sizes = torch.tensor([p.numel() for p in self.parameters])
        ends = sizes.cumsum(0) - sizes // 2
        self.owner = (ends * len(self.grads) // sizes.sum()).tolist()
        self.sizes = sizes.tolist()

    def step(self, number: int) -> float:
        """One step; returns the loss of the whole batch."""
        self.find(number)
        self.barrier.wait(PATIENCE)
        self.move(number)
        self.barrier.wait(PATIENCE)
        return float(self.losses.sum())

    def find(self, number: int) -> None:
        """Write down the gradients of this process's sequences."""
        batch = train.batch(self.ids, self.config, number)
        inputs, targets = (
            x.tensor_split(len(self.grads))[self.rank] for x in batch
        )
        loss = train.loss(self.model, inputs, targets)
        loss = loss * (len(inputs) / len(batch[0]))
        found = torch.autograd.grad(loss, self.parameters)
        torch.cat([g.flatten() for g in found], out=self.grads[self.rank])
        self.losses[self.rank] = loss.detach()

    def move(self, number: int) -> None:
        """Move the parameters that this process owns."""
        total = self.grads.sum(0)
        if self.config.clip:
            total *= min(1.0, self.config.clip / (total.norm() + 1e-6))
        for p, owner, g in zip(
            self.parameters, self.owner, total.split(self.sizes), strict=True
        ):
            p.grad = g.view_as(p) if owner == self.rank else None
        for group in self.optimizer.param_groups:
            group["lr"] = train.learning_rate(number, self.config)
        self.optimizer.step()


def work(rank, shared, *job) -> None:
    """Be one of the other processes until told to stop."""
    torch.set_num_threads(1)
    number, barrier = shared[3], shared[2]
    try:
        worker = Worker(rank, shared, *job)
        while barrier.wait() >= 0 and number.item() >= 0:
            worker.step(int(number))
    except BaseException:
        barrier.abort()  # nobody waits for the dead
        raise


class Cores:
    """Trains `model` on `count` cores; use it as a context manager.

    `optimizer` is a function of (model, config) that other processes can
    import; `processes`, a context of multiprocessing, says how they start.
    Dropout and accumulation are not for this class.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable,
        config: train.TrainConfig,
        ids: Int[Tensor, "tokens"],
        count: int = 2,
        processes: BaseContext | None = None,
    ):
        if not 1 <= count <= config.batch_size:
            raise ValueError(
                f"count: got {count}, expected 1 to batch_size = "
                f"{config.batch_size}"
            )
        processes = processes or multiprocessing.get_context("spawn")
        size = sum(p.numel() for p in model.parameters() if p.requires_grad)
        shared = (
            torch.zeros(count, size).share_memory_(),
            torch.zeros(count).share_memory_(),
            processes.Barrier(count),
            torch.zeros((), dtype=torch.int64).share_memory_(),
        )
        job = shared, model.share_memory(), optimizer, config, ids
        self.worker, self.number = Worker(0, *job), shared[3]
        self.config = config
        self.others = [
            processes.Process(target=work, args=(rank, *job), daemon=True)
            for rank in range(1, count)
        ]

    def __enter__(self):
        for process in self.others:
            process.start()
        self.threads = torch.get_num_threads()
        torch.set_num_threads(1)
        return self

    def __exit__(self, *_):
        torch.set_num_threads(self.threads)
        self.number.fill_(-1)
        with contextlib.suppress(BrokenBarrierError):
            self.worker.barrier.wait(PATIENCE)
        for process in self.others:
            process.join()

    def step(self, number: int) -> float:
        """Train step `number` on all cores; returns its loss.

        Raises `RuntimeError` when one of the others has died.
        """
        self.number.fill_(number)
        try:
            self.worker.barrier.wait(PATIENCE)
            return self.worker.step(number)
        except BrokenBarrierError:
            raise RuntimeError(
                "a core died, and says why above, or did not answer for "
                f"{PATIENCE} s"
            ) from None
