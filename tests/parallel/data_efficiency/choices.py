"""Runs that differ in what they read, or in which order."""

import dataclasses
import time

import torch

from llmnotes import data, train
from llmnotes.parallel.data_efficiency import quality, runs
from llmnotes.parallel.data_efficiency.duplicates import first_of_each

WIDTH, READ = 32, 1920  # rows
CHARACTERS = READ * runs.BLOCK + 1
BETWEEN = "\n\n"


def documents(name):
    """A text as its paragraphs, or speeches; none of them twice."""
    found = [one.strip() for one in data.text(name).split(BETWEEN)]
    return [found[i] for i in first_of_each(found) if found[i]]


def loss_of(model, ids):
    """Mean loss on a text, cut into rows."""
    plan = dataclasses.replace(runs.config(READ, 1.0), batch_size=runs.JUDGED)
    return train.evaluate_all(model, ids, plan)


def pool():
    """Paragraphs of the reference: to choose from, and two that are held out.

    One of these is reported, the other chooses rates.
    """
    texts = documents("python_reference")
    mixed = [texts[i] for i in runs.shuffled(len(texts), 0, 0)]
    tenth = len(mixed) // 10
    return mixed[2 * tenth :], mixed[:tenth], mixed[tenth : 2 * tenth]


def chosen(texts, way, seed):
    """Paragraphs of the highest scores, or any; in an order of the seed."""
    if way == "best":
        numbers = quality.best(texts, CHARACTERS)
    else:
        order = runs.shuffled(len(texts), seed, 0).tolist()
        numbers = quality.up_to(texts, order, CHARACTERS)
    return [texts[numbers[i]] for i in runs.shuffled(len(numbers), seed, 1)]


def alike(texts, pool):
    """Those of the texts that the filter would have kept, too."""
    least = min(
        quality.common_share(pool[i]) for i in quality.best(pool, CHARACTERS)
    )
    return [text for text in texts if quality.common_share(text) >= least]


def filtered(way, rate, seed, held=1):
    """Loss on all held-out paragraphs, on those like the kept, seconds."""
    begin = time.process_time()
    known = data.CharVocabulary(data.text())
    texts, *rest = pool()
    read = known.encode(BETWEEN.join(chosen(texts, way, seed)))
    order = runs.shuffled(READ, seed, 2)
    judged = [rest[held - 1], alike(rest[held - 1], texts)]
    whole, like = (known.encode(BETWEEN.join(one)) for one in judged)
    model, loss = runs.learn(
        WIDTH, known.size, order, read, whole, rate=rate, seed=seed
    )
    return loss, loss_of(model, like), time.process_time() - begin


def filter_tried(way, rate, seed):
    """Both losses' mean on paragraphs that no report uses."""
    return [sum(filtered(way, rate, seed, held=2)[:2]) / 2]


def ordered(way, rate, seed, held=0):
    """Loss after the same speeches: the short first, the long, or mixed."""
    begin = time.process_time()
    text = data.text("tiny_shakespeare")
    known = data.CharVocabulary(text)
    rest = data.split(data.split(known.encode(text))[1], 0.5)[held]
    texts = documents("tiny_shakespeare")
    texts = texts[: int(0.85 * len(texts))]  # no speech of the rest
    order = runs.shuffled(len(texts), seed, 0).tolist()
    speeches = [texts[i] for i in quality.up_to(texts, order, CHARACTERS)]
    if way != "mixed":
        speeches.sort(key=len, reverse=way == "long first")
    read = known.encode(BETWEEN.join(speeches))
    loss = runs.learn(
        WIDTH, known.size, torch.arange(READ), read, rest, rate=rate, seed=seed
    )[1]
    return loss, time.process_time() - begin


def order_tried(way, rate, seed):
    """Loss on the text that no report uses."""
    return [ordered(way, rate, seed, held=1)[0]]
