"""A step of a GPT over all ranks: stages, messages, ties and the norm."""

import math
from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor

from llmnotes.parallel.pipeline.ends import Tie, clip
from llmnotes.parallel.pipeline.events import Schedule
from llmnotes.parallel.pipeline.layers import cut
from llmnotes.parallel.pipeline.messages import program
from llmnotes.parallel.pipeline.runner import Runner
from llmnotes.transformer.gpt import GPT


def step(
    model: GPT,
    schedule: Schedule,
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    limit: float = math.inf,
) -> tuple[float, float]:
    """Loss and norm over all stages; each rank's gradients are left to it.

    Every rank is given the whole model, and uses its own stages.
    """
    rank, parts = dist.get_rank(), cut(model, schedule.last + 1)
    mine = {s: parts[s] for s in range(rank, len(parts), schedule.ranks)}
    tie = Tie(model.transformer.wte.weight)
    runner = Runner(program(schedule), mine, model.config.n_embd)
    loss = runner.step(inputs, targets)
    tie.add_up()
    held = dict.fromkeys(p for s in mine.values() for p in s.parameters())
    norm = clip(held, limit, tie.copies)
    dist.all_reduce(loss)
    return loss.item(), norm.item()
