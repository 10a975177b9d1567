"""The three models on GPT-2 124M: steps to time, and steps on a clock."""

import functools
import threading
import time

import numpy as np
import torch
import torch.distributed as dist

from llmnotes.parallel.gpt2_parallel import (
    Fast,
    FirstWrites,
    ForkJoin,
    InTasks,
    Replicas,
    Shards,
    critical_path,
    in_order,
)
from llmnotes.parallel.gpt2_parallel.replicas import Sum
from llmnotes.parallel.gpt2_parallel.team import Team
from llmnotes.parallel.zero.flat import all_gather, reduce_scatter
from llmnotes.transformer.gpt import GPT_2_SMALL
from llmnotes.transformer.gpt2_by_hand import (
    Tensors,
    padded,
    parameter_shapes,
)
from tests.transformer.gpt2_by_hand import tiny

BATCH, LENGTH = 4, 64
CONFIG = GPT_2_SMALL


def weights(config=CONFIG):
    """Numbers of the size that GPT-2's have."""
    made = Tensors(parameter_shapes(config, padded(config.vocab_size)))
    draw = np.random.default_rng(0)
    made.numbers[:] = 0.02 * draw.standard_normal(
        made.numbers.size, np.float32
    )
    return made


def ids(batch=BATCH):
    return tiny.ids(CONFIG, batch, LENGTH)


def forked(threads, batch=BATCH):
    """A step by fork and join."""
    model = FirstWrites(CONFIG, weights(), ForkJoin(threads))
    return functools.partial(model.step, *ids(batch))


def in_tasks(threads, batch=BATCH):
    """A step in tasks, a block for each of two threads, also for one."""
    blocks = min(2, batch)
    ours = InTasks(CONFIG, weights(), [Fast() for _ in range(threads)], blocks)
    return functools.partial(ours.step, *ids(batch))


def seconds_of_ranks(rounds, batch=BATCH):
    """Seconds of steps of all ranks together."""
    ranks = Shards(CONFIG, weights(), ForkJoin(1))
    spent = []
    for _ in range(rounds + 1):
        dist.barrier()
        start = time.perf_counter()
        ranks.step(*ids(batch))
        dist.barrier()
        spent.append(time.perf_counter() - start)
    return spent[1:]


def messages(pairs):
    """Ways to begin summing gradients, or sending weights back.

    `pairs` = what each rank gives of a stretch, and room for what it gets,
    (ranks, numbers of a part) both.
    """
    rank = dist.get_rank()

    def by_us(x, y):
        work = dist.all_to_all_single(y, x, async_op=True)
        return [Sum(work, y, x[rank])]

    ways = {
        "reduce-scatter": lambda x, y: [
            reduce_scatter(y[rank], x.view(-1), async_op=True)
        ],
        "all-to-all, then a sum": by_us,
        "all-gather": lambda x, y: [
            all_gather(y.view(-1), x[rank], async_op=True)
        ],
        "broadcasts": lambda x, y: [
            dist.broadcast(part, k, async_op=True) for k, part in enumerate(x)
        ],
    }
    return {
        name: lambda way=way: [w for x, y in pairs for w in way(x, y)]
        for name, way in ways.items()
    }


def seconds_of_messages(rounds, pieces=20, numbers=124_000_000):
    """Seconds in which so many gradients are summed, or weights sent back."""
    shape = dist.get_world_size(), numbers // (pieces * dist.get_world_size())
    pairs = [(torch.ones(shape), torch.zeros(shape)) for _ in range(pieces)]
    ways = messages(pairs)
    spent = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, go in ways.items():
            dist.barrier()
            start = time.perf_counter()
            for work in go():
                work.wait()
            dist.barrier()
            spent[way].append(time.perf_counter() - start)
    return {way: seconds[1:] for way, seconds in spent.items()}


class Clocked(Team):
    """A team that notes which thread was busy when."""

    def __init__(self, *args):
        super().__init__(*args)
        self.noted, self.name = [], ""

    def run(self, worker, items, *args):
        def noted(queue, step, end, *rest):
            start = time.perf_counter()
            worker(queue, step, end, *rest)
            if end >= 0:  # else it was only compiled
                self.noted.append(
                    (threading.get_ident(), worker.__name__, start,
                     time.perf_counter())
                )  # fmt: skip

        super().run(noted, items, *args)


def forked_on_a_clock():
    """(lane, name, start, stop, critical) of a step on two threads."""
    kernels = ForkJoin(2)
    clock = Clocked(2, kernels.team.scratch.shape[1])
    kernels.team.close()
    kernels.team = clock
    model = FirstWrites(CONFIG, weights(), kernels)
    for _ in range(2):
        clock.noted = []
        start = time.perf_counter()
        model.step(*ids())
    lanes = {ident: i for i, ident in enumerate(
        sorted({one[0] for one in clock.noted},
               key=lambda x: x != threading.get_ident()))}  # fmt: skip
    return [
        (lanes[ident], name, a - start, b - start, 0)
        for ident, name, a, b in clock.noted
    ]


def in_tasks_on_a_clock():
    ours = InTasks(CONFIG, weights(), [Fast(), Fast()])
    for _ in range(2):
        start = time.perf_counter()
        ours.step(*ids())
    path = set(critical_path(ours.graph.needs, in_order(ours.done)))
    return [
        (done.thread, ours.graph.tasks[done.task].name, done.start - start,
         done.stop - start, int(done.task in path))
        for done in ours.done
    ]  # fmt: skip


def a_rank_on_a_clock():
    """Calls of a rank, and its messages from start to arrival."""
    ranks = Replicas(CONFIG, weights(), ForkJoin(1))
    noted, plain = [], ranks.model.kernels
    clock = time.perf_counter

    class Noted:
        def __getattr__(self, name):
            kernel = getattr(plain, name)

            def timed(*arrays):
                a = clock()
                kernel(*arrays)
                noted.append((dist.get_rank(), name, a, clock(), 0))

            return timed

    ranks.model.kernels = Noted()
    ranks.send = watched(ranks.send, "send", noted, clock)
    for _ in range(2):
        noted.clear()
        dist.barrier()
        start = clock()
        ranks.step(*ids())
    time.sleep(0.3)  # for those who tell of arrivals
    return [(lane, name, a - start, b - start, c)
            for lane, name, a, b, c in noted if a > start]  # fmt: skip


def watched(plain, way, noted, clock):
    """A message that notes when it began and when it had arrived.

    A thread looks now and then: gloo's all-reduce tells, its reduce-scatter
    is not complete before somebody waits for it.
    """

    def send(stretch):
        a, sent = clock(), plain(stretch)
        lane = dist.get_rank() + 2  # below the ranks' own lanes

        def arrive():
            while not sent.is_completed():
                time.sleep(0.004)
            noted.append((lane, way, a, clock(), 0))

        threading.Thread(target=arrive, daemon=True).start()
        return sent

    return send


def thin(rows, least=0.0005):
    """What nobody could see in a picture is left out."""
    return [row for row in sorted(rows) if row[3] - row[2] >= least]
