"""What a quick training step is made of, and how quick it is."""

import contextlib
import statistics

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from llmnotes import train
from llmnotes.parallel.data_parallel.cores import Cores
from llmnotes.transformer.gpt import GPT
from llmnotes.transformer.training_step import FusedGPT
from tests.transformer.gpt.training_runs import MINI, NANO, shakespeare
from tests.transformer.pretraining.plain_torch_gpt import (
    PlainGPT,
    TwoThreads,
    adamw,
)
from tests.transformer.training_step.steps import SEED, watched


class Counter(TorchDispatchMode):
    """Counts the operations that PyTorch is asked for, views included."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_operations_of_a_step(record):
    rows = [(name, seen.count) for name, seen, _ in watched(Counter)]
    record(
        "operations",
        kind="tolerance",
        tolerance=0.2,  # PyTorch's versions cut some operations differently
        seed=SEED,
        title="Operations that one training step asks of PyTorch",
        prediction=(
            "Per block some 30 forward, twice as many backward; with the "
            "optimizer's, 500 in all. A fused block has a dozen products and "
            "about as many views."
        ),
        columns={"model": "", "operations": ""},
        rows=rows,
    )


@pytest.mark.timing
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_a_step(record, race):
    ids, _ = shakespeare()
    kinds = {
        "plain PyTorch": (PlainGPT, TwoThreads),
        "our GPT": (GPT, TwoThreads),
        "our GPT, fused": (FusedGPT, TwoThreads),
        "plain PyTorch, two processes": (PlainGPT, Cores),
        "our GPT, fused, two processes": (FusedGPT, Cores),
    }
    contestants = {}
    with contextlib.ExitStack() as stack:
        for setting in (MINI, NANO):
            config = train.TrainConfig(
                batch_size=setting.batch_size, block=setting.block
            )
            for name, (cls, trainer) in kinds.items():
                torch.manual_seed(SEED)
                model = cls(setting.shape)
                team = stack.enter_context(trainer(model, adamw, config, ids))
                contestants[setting.name, name] = five_steps(team, trainer)
        times = race(contestants, rounds=7, slice_s=1.5)
    torch.set_num_threads(2)
    record(
        "step",
        kind="timing",
        title="Time of a training step, and its ratio to plain PyTorch's",
        prediction=(
            "The products take most of a step and are the same for all. "
            "Fusing saves the second tanh of GELU, the copies and most of "
            "the handing out: a tenth. Two processes instead of two threads "
            "do not wait at every operation: another tenth or two."
        ),
        columns={"setting": "", "model": "", "seconds": "s", "ratio": ""},
        labels={"ratio": "times plain PyTorch", "seconds": "median time"},
        rows=[
            (
                *key,
                statistics.median(times[key]) / 5,
                statistics.median(times[key])
                / statistics.median(times[key[0], "plain PyTorch"]),
            )
            for key in contestants
        ],
    )


def five_steps(team, trainer):
    """Five steps of a contestant, with as many threads as it takes."""

    def run():
        torch.set_num_threads(2 if trainer is TwoThreads else 1)
        for number in range(5):
            team.step(number)

    return run
