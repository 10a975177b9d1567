"""What the ranks of the benches do."""

import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from llmnotes import corpora, data, train
from llmnotes.parallel.data_parallel import (
    Buckets,
    Outer,
    Traffic,
    loss,
    ring_all_reduce,
    tree_all_reduce,
)
from llmnotes.transformer.gpt import GPT, GPTConfig
from tests.parallel.data_parallel import ranked

NUMBERS = 1_000_000
STEPS, EVERY = 400, 100


def collective(way):
    """Messages and numbers that this rank sends."""
    ways = {"ring": ring_all_reduce, "tree": tree_all_reduce}
    with Traffic() as traffic:
        ways[way](torch.zeros(NUMBERS))
    return len(traffic.calls), sum(c.numbers for c in traffic.calls)


def in_buckets(size):
    """All-reduces, numbers sent, and the share gone at the first layer."""
    model, task, config = small()
    buckets, early = Buckets(model, size), []
    first = next(model.parameters())
    first.register_hook(
        lambda _: early.append(
            sum(b.flat.numel() for b in buckets.all[: buckets.next])
        )
    )
    with Traffic() as traffic:
        loss(model, task, task.batch(0)).backward()
        buckets.finish()
    numbers = sum(c.numbers for c in traffic.calls)
    return len(traffic.calls), float(traffic.sent), early[0] / numbers


def small(seed=0):
    """A GPT of the laptop's size and the language reference, by letters."""
    text = corpora.text("python_reference")
    letters = data.CharVocabulary(text)
    parts = data.split(letters.encode(text))
    config = train.TrainConfig(
        steps=STEPS, batch_size=16, block=32, warmup=40, eval_every=STEPS,
        learning_rate=2e-3, min_learning_rate=2e-4, eval_batches=40,
    )  # fmt: skip
    torch.manual_seed(seed)
    shape = GPTConfig(letters.size, 32, n_embd=64, n_layer=2, n_head=4)
    return GPT(shape), train.LanguageModelling(*parts, config), config


def diloco(every, seed):
    """Loss after so many steps with a round now and then; numbers sent."""
    model, task, config = small(seed)
    optimizer = train.adamw(model, config)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    outer = Outer(model) if every > 1 else None
    buckets = None if outer else Buckets(model)
    with Traffic() as traffic:
        for step in range(STEPS):
            for group in optimizer.param_groups:
                group["lr"] = config.rate(step)
            optimizer.zero_grad()
            number = seed * STEPS + step
            if outer is None:
                loss(model, task, task.batch(number)).backward()
                buckets.finish()
            else:
                mine = [x.tensor_split(ranks)[rank] for x in
                        task.batch(number)]  # fmt: skip
                train.loss(model, *mine).backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            if outer and (step + 1) % every == 0:
                outer.round()
    return task.evaluate(model), float(traffic.sent)


def says(how):
    """Rank 1 ends in one way or another, see `ranked.ends`."""
    ranked.ends(how)


SHAPE = GPTConfig(256, 128, n_embd=256, n_layer=4, n_head=4)


def stepper(way, rows):
    """A function that does one step, for a rank, and its model's weights."""
    torch.manual_seed(0)
    model = GPT(SHAPE)
    ranks, rank = dist.get_world_size(), dist.get_rank()
    ids = torch.randint(256, (rows, 129), generator=torch.Generator()
                        .manual_seed(1))  # fmt: skip
    mine = ids.tensor_split(ranks)[rank]
    wrapped = DistributedDataParallel(model) if way == "DDP" else model
    buckets = Buckets(model) if way == "ours" and ranks > 1 else None
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)

    def step():
        optimizer.zero_grad()
        found = train.loss(wrapped, mine[:, :-1], mine[:, 1:])
        (found / ranks if buckets else found).backward()
        if buckets:
            buckets.finish()
        optimizer.step()

    return step


def interleaved(ways, rounds, rows):
    """Seconds of each way's steps, in turns, all ranks together."""
    steps = {way: stepper(way, rows) for way in ways}
    seconds = {way: [] for way in ways}
    for number in range(rounds + 2):
        for way in list(ways)[:: 1 if number % 2 else -1]:
            dist.barrier()
            start = time.perf_counter()
            steps[way]()
            dist.barrier()
            if number > 1:
                seconds[way].append(time.perf_counter() - start)
    return seconds


def timeline(rows):
    """Backward and the sums of its buckets, in seconds from its start."""
    torch.manual_seed(0)
    model = GPT(SHAPE)
    buckets = Buckets(model, 400_000)
    ids = torch.randint(256, (rows, 129))
    mine = ids.tensor_split(dist.get_world_size())[dist.get_rank()]
    for _ in range(3):
        model.zero_grad()
        found = train.loss(model, mine[:, :-1], mine[:, 1:])
        dist.barrier()
        marks, start = watch(buckets), time.perf_counter()
        found.backward()
        end = time.perf_counter()
        buckets.finish()
    lanes = [("backward", 0.0, end - start)]
    return lanes + [("sums", a - start, b - start) for a, b in marks]


def watch(buckets):
    """[start, end] of each bucket's sum, filled in while it happens."""
    marks = []
    for bucket in buckets.all:
        mark = [0.0, 0.0]
        marks.append(mark)
        plain = type(bucket).send

        def send(bucket=bucket, mark=mark, plain=plain):
            mark[0] = time.perf_counter()
            plain(bucket)
            bucket.sent.get_future().then(
                lambda _: mark.__setitem__(1, time.perf_counter())
            )

        bucket.send = send
    return marks
