"""RNN, LSTM, GRU and GPT of equal size read the same text."""

import functools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from torch import nn

from llmnotes import train
from llmnotes.sequence.gru import GRU
from llmnotes.sequence.lstm import LSTM
from llmnotes.sequence.rnn import RNN
from llmnotes.transformer.gpt import GPT, NANOGPT_CPU
from tests.transformer.gpt.training_runs import NANO, shakespeare

SEED = 0
RATES = 1e-3, 3e-3  # each model keeps the better for itself
STEPS, EVERY = 1200, 100
RECURRENT = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}


class Reader(nn.Module):
    """Two recurrent layers between an embedding and a linear layer."""

    def __init__(self, recurrent, vocab_size, width):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, width)
        self.layers = recurrent(width, width, 2)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, ids):
        return self.head(self.layers(self.embed(ids))[0])


def size(model):
    return sum(p.numel() for p in model.parameters())


@functools.cache
def width_like_gpt(name):
    """The width at which a recurrent model is as large as the GPT."""
    with torch.device("meta"):
        goal = size(GPT(NANOGPT_CPU))
        return min(
            range(100, 600),
            key=lambda w: abs(size(Reader(RECURRENT[name], 65, w)) - goal),
        )


def model_of(name):
    torch.manual_seed(SEED)
    if name == "GPT":
        return GPT(NANOGPT_CPU)
    return Reader(RECURRENT[name], 65, width_like_gpt(name))


def config_of(rate, steps=STEPS):
    return train.TrainConfig(
        steps=steps, batch_size=NANO.batch_size, block=NANO.block,
        learning_rate=rate, min_learning_rate=rate / 10, warmup=50,
        betas=(0.9, 0.98), eval_every=EVERY, eval_batches=100, seed=SEED,
    )  # fmt: skip


def curve(job):
    """Train on one core; returns [(step, loss)] and the final loss."""
    name, rate = job
    torch.set_num_threads(1)
    history = train.train(
        model_of(name), *shakespeare(), config_of(rate), progress=False
    )
    points = [(row.step, row.validation_loss) for row in history]
    return points, history.final_loss


@pytest.mark.trained
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_equal_size_equal_text(record):
    names = [*RECURRENT, "GPT"]
    jobs = [(name, rate) for name in names for rate in RATES]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        found = dict(zip(jobs, pool.map(curve, jobs), strict=True))
    best = {
        name: min(RATES, key=lambda rate: found[name, rate][1])
        for name in names
    }
    record(
        "losses",
        kind="trained",
        seeds=(SEED,),
        spread={"loss": 0.1, "best": None},
        title=f"Loss after {STEPS:,} steps, at each learning rate",
        prediction=(
            "Within 64 characters nothing is far away, so attention has "
            "little to fix here: LSTM and GRU about as good as GPT, the RNN "
            "0.1 behind. The gates should bear the highest rate best."
        ),
        columns={
            "model": "", "width": "", "parameters": "", "rate": "",
            "loss": "nat", "best": "",
        },
        labels={"loss": "validation loss", "best": "its better rate"},
        rows=[
            (
                name,
                128 if name == "GPT" else width_like_gpt(name),
                size(model_of(name)),
                rate,
                found[name, rate][1],
                "yes" if rate == best[name] else "no",
            )
            for name, rate in jobs
        ],
    )  # fmt: skip
    record(
        "curves",
        kind="trained",
        seeds=(SEED,),
        spread={"loss": 0.1},
        title="RNN, LSTM, GRU and GPT of equal size on tiny Shakespeare",
        prediction=(
            "The recurrent models begin faster, since neighbours in time are "
            "neighbours in the network from the start; attention has to find "
            "them first, and catches up after some hundred steps."
        ),
        columns={"model": "", "step": "", "loss": "nat"},
        labels={"loss": "validation loss"},
        rows=[
            (name, step, loss)
            for name in names
            for step, loss in found[name, best[name]][0]
        ],
    )


@pytest.mark.timing
@pytest.mark.usefixtures("tiny_shakespeare")
def bench_a_step_of_each(record, race):
    torch.set_num_threads(1)
    config = config_of(1e-3)
    task = train.LanguageModelling(*shakespeare(), config)
    contestants = {}
    for name in (*RECURRENT, "GPT"):
        model = model_of(name)
        optimizer = train.adamw(model, config)
        contestants[name] = functools.partial(
            *(train.update, model, optimizer, task),
            *(task.batch(0), config, 0),
        )
    times = race(contestants, rounds=9)
    seconds = {name: sorted(t)[len(t) // 2] for name, t in times.items()}
    record(
        "step",
        kind="timing",
        title="One training step, 12 sequences of 64 characters, one thread",
        prediction=(
            "Equal parameters mean about equal arithmetic. But a recurrent "
            "model multiplies 12 rows at a time, 128 times in a row, where "
            "GPT multiplies 768 rows at once: twice GPT's time or more."
        ),
        columns={"model": "", "seconds": "s", "per_gpt": ""},
        labels={"seconds": "time of a step", "per_gpt": "of GPT's"},
        rows=[(n, s, s / seconds["GPT"]) for n, s in seconds.items()],
    )
