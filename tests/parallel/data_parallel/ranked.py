"""What ranks do in the tests; a module of its own, quick to import."""

import os
import signal
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from llmnotes import train
from llmnotes.parallel.data_parallel import (
    Buckets,
    Outer,
    Traffic,
    agree,
    loss,
    ring_all_reduce,
    seed_masks,
    tree_all_reduce,
)
from llmnotes.task import IGNORED
from llmnotes.transformer.gpt import GPT, GPTConfig

SHAPE = GPTConfig(13, 11, n_embd=12, n_layer=2, n_head=3)
WAYS = {"ring": ring_all_reduce, "tree": tree_all_reduce}


def summed(way, size, dtype):
    """The sum of numbers that only a rank knows, and what was sent."""
    rank = dist.get_rank()
    x = torch.randn(size, generator=torch.Generator().manual_seed(rank))
    x = x.to(dtype)
    with Traffic() as traffic:
        found = WAYS[way](x.clone())
    return x, found, traffic.calls


def uneven_order():
    """Three numbers whose sum depends on the order, both ways."""
    x = torch.tensor([1.0, 1e8, -1e8])[dist.get_rank()].repeat(3)
    return {name: way(x.clone()) for name, way in WAYS.items()}


class Words(train.LanguageModelling):
    """Text in which some targets do not count, and not in all rows alike."""

    def batch(self, step):
        inputs, targets = super().batch(step)
        targets = targets.clone()
        for row in range(len(targets)):
            targets[row, : 3 * row] = IGNORED
        return inputs, targets


def setting(dtype=torch.float64, steps=3, clip=0.05):
    torch.manual_seed(0)
    ids = torch.arange(3000) * 5 % 13
    config = train.TrainConfig(
        steps=steps, batch_size=7, block=9, warmup=1, clip=clip
    )
    model = GPT(SHAPE).to(dtype)
    return model, Words(ids, ids, config), config


def trained(dtype=torch.float64, size=1000, steps=3):
    """Some steps of AdamW with clipping, on the ranks' shares."""
    model, task, config = setting(dtype, steps)
    optimizer, buckets = train.adamw(model, config), Buckets(model, size)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step)
        optimizer.zero_grad()
        loss(model, task, task.batch(step)).backward()
        buckets.finish()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
    return {n: p.detach() for n, p in model.named_parameters()}


def gradients(size=1000, pieces=1):
    """The gradient of one batch, maybe in pieces, and what travelled when."""
    model, task, _ = setting()
    buckets = Buckets(model, size)
    inputs, targets = task.batch(0)
    mine = inputs.tensor_split(dist.get_world_size())[dist.get_rank()]
    theirs = targets.tensor_split(dist.get_world_size())[dist.get_rank()]
    whole, sent_early = int((targets != IGNORED).sum()), []
    first = next(model.parameters())
    first.register_hook(lambda _: sent_early.append(buckets.next))
    with Traffic() as traffic:
        for i in range(pieces):
            part, wanted = mine[i::pieces], theirs[i::pieces]
            found = summed_loss(model, part, wanted) / whole
            if i < pieces - 1:
                with buckets.quiet():
                    found.backward()
            else:
                found.backward()
        buckets.finish()
    grads = {n: p.grad.clone() for n, p in model.named_parameters()}
    return grads, traffic.calls, sent_early, len(buckets.all)


def summed_loss(model, inputs, targets):
    logits = model(inputs).flatten(0, 1)
    return F.cross_entropy(logits, targets.flatten(), reduction="sum")


def beside_ddp(steps=4):
    """Ours and PyTorch's, from the same weights, on the same rows."""
    found = []
    for ours in (True, False):
        model, task, config = setting()
        optimizer = train.adamw(model, config)
        wrapped = model if ours else DistributedDataParallel(model)
        buckets = Buckets(model, 500) if ours else None
        for step in range(steps):
            optimizer.zero_grad()
            inputs, targets = train.batch(task.train_ids, config, step)
            rows = slice(dist.get_rank(), 6, dist.get_world_size())
            part = train.loss(wrapped, inputs[rows], targets[rows])
            if ours:
                (part / dist.get_world_size()).backward()
                buckets.finish()
            else:
                part.backward()
            optimizer.step()
        found.append({n: p.detach() for n, p in model.named_parameters()})
    return found


class Half(nn.Module):
    """Two layers with one weight, and a third that only some ranks use."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Linear(3, 3, bias=False)
        self.b = nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight
        self.c = nn.Linear(3, 3)
        self.double()

    def forward(self, x, third):
        x = self.b(self.a(x).tanh())
        return (self.c(x) if third else x).sum()


def tied_and_unused():
    model = Half()
    buckets = Buckets(model, 1)
    for rank in (0, 1):  # nothing of the first step is left in the second
        model.zero_grad()
        third = dist.get_rank() == rank
        model(torch.ones(3).double(), third=third).backward()
        buckets.finish()
    return {n: p.grad for n, p in model.named_parameters()}


def backward_twice():
    model = nn.Linear(2, 2)
    buckets = Buckets(model)
    for _ in range(2):
        model(torch.ones(2)).sum().backward()
    buckets.finish()


def quiet_too_late():
    """A quiet piece after one that was sent."""
    model = nn.Linear(2, 2)
    buckets = Buckets(model)
    model(torch.ones(2)).sum().backward()
    with buckets.quiet():
        model(torch.ones(2)).sum().backward()


def begun():
    """Weights of a model that each rank has drawn for itself."""
    found = []
    for way in (Buckets, Outer):
        torch.manual_seed(dist.get_rank())
        model = nn.Linear(3, 2)
        way(model)
        found.append(model.weight.detach().clone())
    return found


def other_models():
    Buckets(nn.Linear(2, 3 + dist.get_rank()))


def other_words():
    agree("words", {"a": "1"} | ({"b": "2"} if dist.get_rank() == 2 else {}))


def averaged(steps, rate, momentum, every):
    """SGD on each rank alone, with a round now and then."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    outer = Outer(model, rate, momentum)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with Traffic() as traffic:
        for step in range(steps):
            seed_masks(0, step, dist.get_rank())
            optimizer.zero_grad()
            x = torch.randn(5, 3).double()
            (model(x) ** 2).mean().backward()
            optimizer.step()
            if (step + 1) % every == 0:
                outer.round()
    return [p.detach() for p in model.parameters()], traffic.calls


def ends(how):
    """Rank 1 ends in one way or another; the others wait for it."""
    if dist.get_rank() == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "error":
            raise ValueError("batch: got none")
        if how == "early":
            return
        if how == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        if how == "late":
            time.sleep(60)
    dist.all_reduce(torch.ones(3))


def number():
    return dist.get_rank()
