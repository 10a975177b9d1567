"""What ranks do in the tests of training on several ranks."""

import os
import signal
from dataclasses import replace

import torch

from llmnotes import ranked, train
from llmnotes.parallel.zero import ShardedOptimizer
from llmnotes.transformer.gpt import GPT, GPTConfig

SHAPE = GPTConfig(13, 11, n_embd=12, n_layer=2, n_head=3)
STEPS = 6


def setting(dropout=0.0):
    """A small GPT, its two texts and how it is trained."""
    torch.manual_seed(0)
    ids = torch.arange(3000) * 5 % 13
    config = train.TrainConfig(
        steps=STEPS, batch_size=7, block=9, warmup=1, eval_every=2,
        eval_batches=2, clip=0.05,
    )  # fmt: skip
    shape = replace(SHAPE, dropout=dropout)
    return GPT(shape), (ids[:2000], ids[2000:]), config


class Deadly(train.LanguageModelling):
    """A text whose batch of a step kills a rank."""

    step, rank = -1, -1

    def batch(self, step):
        here = torch.distributed.get_rank()
        if (step, here) == (Deadly.step, Deadly.rank):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(step)


def trained(out=None, resume=False, dies=(-1, -1), dropout=0.0, steps=STEPS):
    """Weights and losses of a run on all ranks."""
    model, texts, config = setting(dropout)
    config = replace(config, steps=steps)
    Deadly.step, Deadly.rank = dies
    history = ranked.train(
        model, *texts, config, task=Deadly, out=out, resume=resume,
        progress=False,
    )  # fmt: skip
    weights = {n: p.detach() for n, p in model.named_parameters()}
    return weights, [row.loss for row in history], history.final_loss


def stepped(ranks=True):
    """Weights after two steps of SGD, which sees how long a gradient is."""
    model, texts, config = setting()
    config = replace(config, clip=0.0, accumulate=1, learning_rate=0.1)
    task = train.LanguageModelling(*texts, config)
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    if ranks:
        optimizer = ShardedOptimizer(model, lambda _: sgd)
    go = ranked.update if ranks else train.update
    for step in range(2):
        go(model, optimizer if ranks else sgd, task, task.batch(step), config,
           step)  # fmt: skip
    return {n: p.detach() for n, p in model.named_parameters()}


def stops(out):
    """Rank 1 alone is asked to stop, in the third step."""

    class Asking(train.LanguageModelling):
        def batch(self, step):
            if step == 2 and torch.distributed.get_rank() == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().batch(step)

    model, texts, config = setting()
    try:
        ranked.train(model, *texts, config, task=Asking, out=out,
                     progress=False)  # fmt: skip
    except KeyboardInterrupt as stop:
        return str(stop)


def too_small():
    """Seven rows on eight ranks."""
    model, texts, config = setting()
    try:
        ranked.train(model, *texts, config)
    except ValueError as error:
        return str(error)
