"""What two ranks time: a step of each way, one after the other, in rounds."""

import time

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard

from llmnotes import train
from llmnotes.parallel.zero import ShardedGradients, ShardedParameters
from llmnotes.train_config import TrainConfig
from llmnotes.transformer.gpt import GPT, MINIGPT

BATCH, BLOCK = 16, 32  # of each rank
CONFIG = TrainConfig(batch_size=2 * BATCH, block=BLOCK)
WAYS = ("ours 2", "FSDP2 2", "ours 3", "FSDP2 3")


def in_turns(rounds):
    """Seconds of each way, in each round; the order alternates."""
    torch.manual_seed(dist.get_rank())
    ids = torch.randint(65, (BATCH, BLOCK + 1))
    steps = {way: step_of(way, ids) for way in WAYS}
    for step in steps.values():
        step(), step()
    found = []
    for number in range(rounds):
        order = WAYS if number % 2 else WAYS[::-1]
        found.append({way: seconds(steps[way]) for way in order})
    return found


def seconds(step, times=3):
    """Of one step, when all ranks begin together."""
    dist.barrier()
    start = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - start) / times


def step_of(way, ids):
    """A function that makes one step."""
    torch.manual_seed(0)
    model = GPT(MINIGPT)
    name, stage = way.split()
    if name == "ours":
        kind = {"2": ShardedGradients, "3": ShardedParameters}[stage]
        optimizer = kind(model, lambda _: train.adamw(model, CONFIG))
    else:
        for block in model.transformer.h:
            fully_shard(block, reshard_after_forward=stage == "3")
        fully_shard(model, reshard_after_forward=stage == "3")
        optimizer = train.adamw(model, CONFIG)

    def step():
        optimizer.zero_grad()
        train.loss(model, ids[:, :-1], ids[:, 1:]).backward()
        optimizer.step()

    return step
