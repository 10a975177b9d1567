"""One model trained with and without memory, and read with memories."""

import functools

import torch

from llmnotes import data
from llmnotes.models.transformer_xl import (
    Streams,
    TransformerXL,
    TransformerXLConfig,
    fit_streams,
    loss_by_position,
)
from llmnotes.train_config import TrainConfig

SHAPE = TransformerXLConfig(
    vocab_size=65, d_model=96, n_head=4, d_inner=384, n_layer=3
)
BATCH, SEGMENT = 16, 32
STEPS, TUNED_AT = 1200, 300
CONTESTANTS = {"without memory": 0, "with memory": SEGMENT}
READ_WITH = 0, 8, 16, 32, 64, 128  # memories when read
SKIP = 4  # segments until the longest memory is full
ROWS, READ = 32, 24  # read side by side, and segments of each
HELD_BACK = 0.05  # of the training text: what rates are chosen on


@functools.cache
def shakespeare():
    """Training and validation ids of tiny Shakespeare."""
    text = data.text("tiny_shakespeare")
    return data.split(data.CharVocabulary(text).encode(text))


def trained(name, rate, seed, ids, steps):
    """A contestant after so many steps; the seed is that of its weights."""
    torch.manual_seed(seed)
    model = TransformerXL(SHAPE)
    config = TrainConfig(
        steps=steps,
        learning_rate=rate,
        min_learning_rate=rate / 10,
        warmup=50,
        betas=(0.9, 0.98),
    )
    streams = Streams(ids, BATCH, SEGMENT)
    fit_streams(model, streams, config, CONTESTANTS[name])
    return model


def read(model, ids, mem_len):
    """Loss at each position of the segments of the beginning of a text."""
    streams = Streams(ids[: ROWS * SEGMENT * READ + 1], ROWS, SEGMENT)
    return loss_by_position(model, streams, mem_len, SKIP)


def chosen(name, rate, seed):
    """A short run, judged on the end of the training text: the loss."""
    ids, _ = shakespeare()
    cut = int(len(ids) * (1 - HELD_BACK))
    model = trained(name, rate, seed, ids[:cut], TUNED_AT)
    return [read(model, ids[cut:], CONTESTANTS[name]).mean().item()]


def reported(name, rate, seed):
    """Loss by the memory it is read with, and by position with its own."""
    ids, validation = shakespeare()
    model = trained(name, rate, seed, ids, STEPS)
    found = {n: read(model, validation, n) for n in READ_WITH}
    means = [[n, loss.mean().item()] for n, loss in found.items()]
    return means, found[CONTESTANTS[name]].tolist()
