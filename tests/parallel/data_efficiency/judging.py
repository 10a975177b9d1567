"""Runs of one width, so many unique rows and epochs, judged on their loss."""

import dataclasses
import time

from llmnotes import data, train
from llmnotes.parallel.data_efficiency import runs


def texts():
    """Tiny Shakespeare: what is read, what is reported, what tunes."""
    text = data.text("tiny_shakespeare")
    known = data.CharVocabulary(text)
    read, rest = data.split(known.encode(text))
    return known, read, *data.split(rest, 0.5)


def learned(width, unique, epochs, rate, seed):
    """Loss on the text that is reported, on the other, and CPU seconds."""
    begin = time.process_time()
    known, read, reported, other = texts()
    rows = (len(read) - 1) // runs.BLOCK
    order = runs.epochs_of(rows, unique, epochs, seed)
    model, loss = runs.learn(
        width, known.size, order, read, reported, rate=rate, seed=seed
    )
    plan = dataclasses.replace(
        runs.config(len(order), rate), batch_size=runs.JUDGED
    )
    again = train.evaluate_all(model, other, plan)
    return loss, again, time.process_time() - begin


def tried(width, unique, epochs, rate, seed):
    """Loss on the text that no report uses."""
    return [learned(width, unique, epochs, rate, seed)[1]]
