"""A run by hand: it learns, and what it writes depends on the past only."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from llmnotes.transformer.gpt2_by_hand import (
    GPT2,
    initial,
    loops,
    mean_loss,
    sample,
    steps,
    to_gpt,
)
from tests.transformer.gpt2_by_hand import tiny

TEXT = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 10])


ONE = replace(tiny.TINY, n_layer=1)


def fresh():
    return GPT2(ONE, initial(ONE, 0, 128), loops)


def test_a_small_text_is_learned_by_heart():
    model = fresh()
    losses = list(steps(model, TEXT, 80, batch_size=4, block=7, lr=0.03))
    assert losses[0] == pytest.approx(np.log(11), abs=0.1)
    assert losses[-1] < 0.2
    assert mean_loss(model, TEXT, 4, batch_size=2, block=7) < 0.2
    written = sample(model, TEXT[:4], 5, temperature=0.01)
    assert np.array_equal(written, TEXT[:9])


def test_a_run_is_the_same_twice():
    runs = [
        list(steps(fresh(), TEXT, 3, batch_size=2, block=5, seed=1))
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_places_that_are_not_written_yet_change_nothing():
    """The model sees a window; a GPT is shown what was written only."""
    model = fresh()
    for _ in steps(model, TEXT, 10, batch_size=3, block=7, lr=0.02):
        pass
    prompt = np.array([3, 1, 4])
    written = sample(model, prompt, 5, temperature=1e-6)
    twin, expected = to_gpt(ONE, model.weights), list(prompt)
    for _ in range(5):
        logits = twin(torch.tensor([expected[-7:]]))
        expected.append(int(logits[0, -1].argmax()))
    assert written.tolist() == expected


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda m: sample(m, TEXT[:0], 1),
            "prompt: got 0, expected at least 1",
        ),
        (
            lambda m: sample(m, TEXT, 1, temperature=0),
            "temperature: got 0, expected above 0",
        ),
        (
            lambda m: next(steps(m, TEXT[:3], 1, block=7)),
            "ids: got 3 tokens, expected at least 8",
        ),
        (
            lambda m: mean_loss(m, TEXT, 0),
            "count: got 0, expected at least 1",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call(fresh())
