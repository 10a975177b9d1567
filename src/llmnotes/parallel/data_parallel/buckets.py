"""Gradients summed over ranks while the backward pass still runs.

    bucket = gradients that travel together in one flat tensor
    quiet  = between pieces of a batch, when nothing is to travel yet

Backward finds the last layer's gradients first. As soon as a bucket is full
it is sent, and the layers before it are computed meanwhile. One message per
tensor would wait too often; one for all could not start before the end.

Sources
- Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data
  Parallel Training", arXiv 2006.15704, §3.2 (bucketing, overlap).
"""

import contextlib
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

SIZE = 2**20  # numbers in a bucket, at least


class Bucket:
    """Some parameters, and the flat tensor that their gradients travel in."""

    def __init__(self, parameters: list[nn.Parameter]):
        self.parameters = parameters
        first = parameters[0]
        self.flat = first.new_zeros(sum(p.numel() for p in parameters))
        ends = torch.tensor([p.numel() for p in parameters]).tolist()
        self.views = [
            part.view_as(p)
            for part, p in zip(self.flat.split(ends), parameters, strict=True)
        ]
        self.begin()

    def begin(self) -> None:
        """Nothing has come yet."""
        self.came: set[int] = set()
        self.sent = None

    def send(self) -> None:
        """Start the sum; a parameter without a gradient counts as zero."""
        for i, (p, view) in enumerate(
            zip(self.parameters, self.views, strict=True)
        ):
            if i not in self.came:
                view.copy_(p.grad) if p.grad is not None else view.zero_()
        self.sent = dist.all_reduce(self.flat, async_op=True)

    def receive(self) -> None:
        """Wait for the sum; the gradients are views into it from then on."""
        self.sent.wait()
        for p, view in zip(self.parameters, self.views, strict=True):
            p.grad = view
        self.begin()


class Buckets:
    """Sums a model's gradients over all ranks: `backward`, then `finish`.

    It sums and does not average: divide each rank's loss by the number of
    targets of all ranks, and the sum is the gradient of the whole batch. All
    ranks begin with the weights of rank 0.

    Raises `ValueError` on every rank where their models differ, for a `size`
    below 1 and for a model without anything to train.
    """

    def __init__(self, model: nn.Module, size: int = SIZE):
        if size < 1:
            raise ValueError(f"size: got {size}, expected at least 1")
        trained = {
            name: p for name, p in model.named_parameters() if p.requires_grad
        }
        if not trained:
            raise ValueError("model: got nothing to train")
        agree("model", {n: shape_of(p) for n, p in trained.items()})
        for p in trained.values():
            dist.broadcast(p.data, 0)
        self.all = [
            Bucket(some)
            for some in in_buckets(list(trained.values())[::-1], size)
        ]
        self.place = {
            p: (bucket, i)
            for bucket in self.all
            for i, p in enumerate(bucket.parameters)
        }
        self.next, self.silent = 0, False
        self.hooks = [
            p.register_post_accumulate_grad_hook(self.ready)
            for p in self.place
        ]

    def ready(self, p: nn.Parameter) -> None:
        """Autograd has found a gradient: send the buckets that are full.

        In their order, on all ranks alike, or sums would be of what does not
        belong together.
        """
        bucket, i = self.place[p]
        if bucket.sent is not None:
            raise RuntimeError(
                "backward: got one more before finish(), expected all "
                "pieces of a batch but the last inside quiet()"
            )
        if self.silent:
            return
        bucket.views[i].copy_(p.grad)
        bucket.came.add(i)
        while self.next < len(self.all) and full(self.all[self.next]):
            self.all[self.next].send()
            self.next += 1

    def finish(self) -> None:
        """Send what is left and wait: every `p.grad` is now the sum."""
        for bucket in self.all[self.next :]:
            bucket.send()
        for bucket in self.all:
            bucket.receive()
        self.next = 0

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Gradients of a piece of a batch only add up, on this rank."""
        self.silent = True
        try:
            yield
        finally:
            self.silent = False

    def close(self) -> None:
        """Take the hooks away."""
        for hook in self.hooks:
            hook.remove()


def full(bucket: Bucket) -> bool:
    """Whether all gradients of a bucket are there."""
    return len(bucket.came) == len(bucket.parameters)


def in_buckets(
    parameters: list[nn.Parameter], size: int
) -> list[list[nn.Parameter]]:
    """Neighbours of one dtype and device together, until they are `size`."""
    found: list[list[nn.Parameter]] = []
    for p in parameters:
        last = found[-1] if found else []
        room = last and sum(q.numel() for q in last) < size
        alike = last and (last[0].dtype, last[0].device) == (p.dtype, p.device)
        if room and alike:
            last.append(p)
        else:
            found.append([p])
    return found


def shape_of(x: Tensor) -> str:
    """A tensor's shape and dtype in words."""
    return f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}"


def agree(what: str, facts: dict[str, str]) -> None:
    """Raise `ValueError`, on every rank, unless all ranks say the same.

    gloo sums tensors of different lengths without a word, or ends one of the
    processes; so what is to be summed is compared once, before.
    """
    all_facts: list = [None] * dist.get_world_size()
    dist.all_gather_object(all_facts, facts)
    for rank, theirs in enumerate(all_facts):
        for name in {**all_facts[0], **theirs}:
            here, there = all_facts[0].get(name), theirs.get(name)
            if here != there:
                raise ValueError(
                    f"{what}: got {name} as {there or 'nothing'} on rank "
                    f"{rank} and as {here or 'nothing'} on rank 0, expected "
                    "the same on all ranks"
                )
