"""What ranks do in the tests of this chapter."""

import contextlib
from functools import partial

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from llmnotes.parallel.data_parallel import Living, Traffic, held
from llmnotes.parallel.zero import (
    Fetched,
    Link,
    Offloaded,
    ShardedGradients,
    ShardedOptimizer,
    ShardedParameters,
    kept,
    measured,
)
from llmnotes.train import adamw
from llmnotes.train import loss as train_loss
from tests.parallel.zero import toy

STAGES = {1: ShardedOptimizer, 2: ShardedGradients, 3: ShardedParameters}
ADAM = partial(torch.optim.AdamW, lr=0.01)
CLIP = 0.5
SIDE, LAYERS = 24, 4  # 600 numbers a layer: 1, 2, 3 and 4 ranks divide them


def mine(rows):
    """This rank's rows of a batch; some ranks may have one more."""
    return rows.tensor_split(dist.get_world_size())[dist.get_rank()]


def one_step(model, optimizer, step, pieces=1, last_only=False):
    """Backward in pieces, clip, step; returns the norm."""
    optimizer.zero_grad()
    sometimes = toy.used(step) and (not last_only or dist.get_rank() == 1)
    for loss in toy.losses(model, mine(toy.batch(step)), pieces, sometimes):
        loss.backward()
    norm = optimizer.clip(CLIP)
    optimizer.step()
    return norm


def sharded(stage, dtype=torch.float64):
    """The toy and its optimizer."""
    model = toy.toy(dtype)
    return model, STAGES[stage](model, toy.make(model))


def trained(stage, pieces=1, steps=4):
    """Train the toy; returns weights, norms, state, and if all is in place."""
    model, optimizer = sharded(stage)
    norms = [one_step(model, optimizer, step, pieces) for step in range(steps)]
    weights = optimizer.weights()
    return weights, norms, optimizer.gathered(), in_place(model, weights)


def in_place(model, weights):
    """Whether the model is tied, and has these weights or is away."""
    own = {n: p for n, p in model.named_parameters() if p.requires_grad}
    return model.head.weight is model.embed.weight and all(
        p.isnan().all() or torch.equal(p, weights[n]) for n, p in own.items()
    )


def fsdp(pieces=1, steps=4):
    """The same with PyTorch's fully_shard, which means over ranks."""
    model = toy.toy()
    for layer in model.layers:
        fully_shard(layer)
    fully_shard(model)
    optimizer = adamw(model, toy.CONFIG)
    plain = [p for p in model.parameters() if p.requires_grad]
    for step in range(steps):
        optimizer.zero_grad()
        rows = mine(toy.batch(step))
        for loss in toy.losses(model, rows, pieces, toy.used(step)):
            (loss * dist.get_world_size()).backward()
        clip_grad_norm_(plain, CLIP)
        optimizer.step()
    return {
        n: p.full_tensor().detach()
        for n, p in model.named_parameters()
        if p.requires_grad
    }


def every_way(pieces):
    """All stages, batches in so many pieces, and FSDP2, on these ranks."""
    found = {(s, k): trained(s, k) for s in STAGES for k in pieces}
    found["fsdp2", 1] = fsdp()
    return found


def by_the_last_only():
    """A weight of rank 0's shard that rank 1 alone uses."""
    found = []
    for stage in (1, 2):
        model, optimizer = sharded(stage)
        for step in range(2):
            one_step(model, optimizer, step, last_only=True)
        found.append((optimizer.weights(), optimizer.gathered()))
    return found


def saved(stage, steps=2):
    """Train some steps; returns what a checkpoint would hold."""
    model, optimizer = sharded(stage)
    for step in range(steps):
        one_step(model, optimizer, step)
    return optimizer.weights(), optimizer.gathered()


def resumed(stage, weights, state):
    """Go on from there; returns what was loaded, and what became of it."""
    model, optimizer = sharded(stage)
    optimizer.load(weights)
    optimizer.scatter(state)
    loaded = optimizer.weights(), optimizer.gathered()
    for step in range(2, 4):
        one_step(model, optimizer, step)
    return loaded, optimizer.weights()


def square(layers=LAYERS, dtype=torch.float32):
    """Equal layers, whose numbers every small count of ranks divides."""
    torch.manual_seed(5)
    parts = [nn.Linear(SIDE, SIDE) for _ in range(layers)]
    return nn.Sequential(*parts).to(dtype)


def counted(stage, pieces=1, modules=None, dtype=torch.float32):
    """Bytes kept after a step, peak of backward, and what was sent."""
    x = torch.ones(1, SIDE, dtype=dtype)
    with Living() as living:
        model = square(dtype=dtype)
        optimizer = STAGES[stage](model, ADAM, modules)
        train(model, optimizer, x, 1)  # the moments are there from now on
        before = living.bytes
        with Traffic() as traffic:
            optimizer.zero_grad()
            living.peak = 0
            for _ in range(pieces):
                model(x).sum().backward()
            peak = living.peak
            optimizer.step()
    assert living.bytes == before
    return {
        "kept": measured(optimizer),
        "living": living.bytes,
        "peak": peak,
        "calls": [(c.kind, c.numbers) for c in traffic.calls],
        "sent": sum(c.sent for c in traffic.calls if c.kind != "all-reduce"),
    }


def train(model, optimizer, x, steps):
    """Some steps on one input."""
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()


def all_counted():
    """Every stage, with 1 and 3 micro-batches, and in mixed precision."""
    whole = {"whole": counted(3, modules=[])}
    low = {("bfloat16", s): counted(s, dtype=torch.bfloat16) for s in STAGES}
    ours = {(s, k): counted(s, k) for s in STAGES for k in (1, 3)}
    return ours | whole | low | {(0, k): ddp_counted(k) for k in (1, 3)}


def ddp_counted(pieces):
    """The same of PyTorch's DistributedDataParallel, which cuts nothing."""
    model = square()
    copy = DistributedDataParallel(model, gradient_as_bucket_view=True)
    optimizer = ADAM(list(model.parameters()))
    x = torch.ones(1, SIDE)
    for _ in range(3):  # the first two also agree on buckets
        optimizer.zero_grad(set_to_none=False)
        with Traffic() as traffic:
            for i in range(pieces):
                last = i == pieces - 1
                with contextlib.nullcontext() if last else copy.no_sync():
                    copy(x).sum().backward()
        optimizer.step()
    weights = list(model.parameters())
    states = [
        x for s in optimizer.state.values() for x in s.values() if x.ndim
    ]
    kept = {
        "weights": held(weights),
        "gradients": held([p.grad for p in weights]),
        "states": held(states),
    }
    return {"kept": kept, "sent": traffic.sent}


def fsdp_counted(pieces, keep):
    """Calls of FSDP2 for two layers; `keep` is its way to do stage 1."""
    model = square(2)
    for layer in model:
        fully_shard(layer, reshard_after_forward=not keep)
    fully_shard(model, reshard_after_forward=not keep)
    x = torch.ones(1, SIDE)
    with Traffic() as traffic:
        for i in range(pieces):
            model.set_requires_gradient_sync(not keep or i == pieces - 1)
            model.set_reshard_after_backward(not keep or i == pieces - 1)
            model(x).sum().backward()
    return dict(traffic.count())


def ours_counted(pieces, stage):
    """Calls of ours for the same."""
    model = square(2)
    optimizer = STAGES[stage](model, ADAM, list(model))
    with Traffic() as traffic:
        for _ in range(pieces):
            model(torch.ones(1, SIDE)).sum().backward()
        optimizer.step()
    return {k: n for k, n in traffic.count().items() if k != "all-reduce"}


def both_counted():
    """Two layers, two micro-batches."""
    ways = ((3, False), (1, True))
    return [(ours_counted(2, s), fsdp_counted(2, k)) for s, k in ways]


class Plain(nn.Module):
    """A row of numbers, and their products with what comes in."""

    def __init__(self, *numbers):
        super().__init__()
        self.row = nn.Parameter(torch.tensor(numbers))

    def forward(self, x):
        return self.row * x


def by_hand():
    """Norms of a gradient whose shards are [3, 0] and [0, 4]."""
    found = []
    for stage in STAGES:
        model = Plain(1.0, 1.0, 1.0, 1.0)
        optimizer = STAGES[stage](model, partial(torch.optim.SGD, lr=1.0))
        x = torch.tensor([[2.0, 0, 0, 3], [1, 0, 0, 1]])
        model(x[dist.get_rank()]).sum().backward()
        norm = optimizer.clip(1.0)
        optimizer.step()
        assert model.row.isnan().all() == (stage == 3)
        whole = optimizer.weights() if stage == 3 else {"row": model.row}
        found.append((norm, whole["row"].tolist()))
    return found


def small_steps():
    """Ten steps of 6e-4 down from 1, in bfloat16."""
    model = Plain(*[1.0] * 5).bfloat16()
    optimizer = ShardedGradients(model, partial(torch.optim.SGD, lr=6e-4))
    for _ in range(10):
        optimizer.zero_grad()
        (model(torch.ones(5)).sum() / dist.get_world_size()).backward()
        optimizer.step()
    return optimizer.weights()["row"], model.row.detach().clone()


def offloaded():
    """Bytes near, far and moved of a step, and the weights it leads to."""
    found, x = {}, torch.ones(2, SIDE)
    for dtype in (torch.float32, torch.bfloat16):
        for way in ("here", "Offloaded", "Fetched"):
            with Link() as link:
                given = {
                    "here": (ShardedGradients, {}),
                    "Offloaded": (Offloaded, {"down": link.down}),
                    "Fetched": (Fetched, {"down": link.down, "up": link.up}),
                }[way]
                model = square(dtype=dtype)
                optimizer = given[0](model, ADAM, **given[1])
                train(model, optimizer, x.to(dtype), 2)
                link.moved.clear()
                train(model, optimizer, x.to(dtype), 1)
                name = str(dtype).removeprefix("torch.")
                found[name, way] = facts(optimizer, link)
    return found


def facts(optimizer, link):
    """What a step moved, and where things lie after it."""
    weights = {n: x.clone() for n, x in optimizer.weights().items()}
    return {
        "kept": sum(measured(optimizer).values()),
        "far": link.bytes_far(kept(optimizer)["states"]),
        **{way: link.moved[way] for way in ("down", "up")},
        "weights": weights,
    }


def gpt():
    """A step of a small GPT, cut in three, and its logits before."""
    model = toy.gpt()
    optimizer = ShardedParameters(model, toy.make(model))
    ids = toy.gpt_ids()
    logits = model(ids[:, :-1]).detach()
    loss = train_loss(model, ids[:, :-1], ids[:, 1:])
    (loss / dist.get_world_size()).backward()
    optimizer.step()
    return logits, optimizer.weights()


def seeded_by_rank():
    """Models that are not alike, before the first step."""
    found = []
    for stage in STAGES.values():
        torch.manual_seed(dist.get_rank())
        model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        first = {n: p.detach().clone() for n, p in model.named_parameters()}
        found.append((first, stage(model, ADAM).weights()))
    return found


def one_number():
    """More ranks than numbers: a step, and the state it leaves."""
    found = []
    for stage in STAGES.values():
        model = Plain(1.0)
        optimizer = stage(model, ADAM)
        model(torch.ones(1)).sum().backward()
        optimizer.clip(9.0)
        optimizer.step()
        optimizer.scatter(optimizer.gathered())
        state = optimizer.gathered()["row"]
        found.append((optimizer.weights()["row"], state["exp_avg"]))
    return found


def around(model, x, rank):
    """Rank 1 goes around the third layer."""
    for i, layer in enumerate(model):
        x = x if rank == 1 and i == 2 else layer(x)
    return x.square().sum()


def skipping():
    """A step in which ranks use other layers, by stage 2."""
    model, rank = square(dtype=torch.float64), dist.get_rank()
    make = partial(torch.optim.SGD, lr=0.1)
    optimizer = ShardedGradients(model, make)
    x = torch.full((1, SIDE), 1.0 + rank, dtype=torch.float64)
    around(model, x, rank).backward()
    optimizer.step()
    return optimizer.weights()


def with_another_model():
    """Rank 1 has one more column."""
    ShardedOptimizer(nn.Linear(3 + dist.get_rank(), 2), ADAM)


def hurt(what, stage):
    """What comes of a NaN, of a backward that fails, of another state."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)).double()
    optimizer = STAGES[stage](model, ADAM)
    x = torch.ones(4, 2, dtype=torch.float64)

    def backward():
        optimizer.zero_grad()
        model(x).sum().backward()

    if what == "nan":  # in one gradient only: clipping spreads it
        next(model.parameters()).register_hook(lambda g: g * float("nan"))
        backward()
        optimizer.clip(1.0)
        optimizer.step()
        return all(x.isnan().all() for x in optimizer.weights().values())
    if what == "failed":
        hook = next(model.parameters()).register_hook(lambda _: 1 / 0)
        with contextlib.suppress(ZeroDivisionError):
            backward()
        hook.remove()
    backward()
    optimizer.step()
    if what == "state":
        names = [n for n, _ in model.named_parameters()]
        whole = optimizer.gathered()
        optimizer.scatter({names[0]: whole[names[0]]})
        return list(optimizer.gathered()) == names[:1]
    return True
