"""Rows that go on from one step to the next, and training on them."""

import math

import pytest
import torch
import torch.nn.functional as F

from llmnotes.models.transformer_xl import (
    Memory,
    Streams,
    TransformerXL,
    TransformerXLConfig,
    fit_streams,
    loss_by_position,
)
from llmnotes.train_config import TrainConfig
from tests.models.transformer_xl.tiny import tiny, tokens


def test_every_row_goes_on_where_it_ended():
    streams = Streams(torch.arange(32), batch=3, segment=5)
    assert len(streams) == 2
    (first, after), (second, last) = streams.at(0), streams.at(1)
    assert first.tolist() == [[*range(s, s + 5)] for s in (0, 10, 20)]
    assert second.tolist() == [[*range(s, s + 5)] for s in (5, 15, 25)]
    assert torch.equal(after, first + 1)
    assert torch.equal(last, second + 1)


def test_after_the_last_segment_comes_the_first():
    streams = Streams(torch.arange(32), batch=3, segment=5)
    assert torch.equal(streams.at(2)[0], streams.at(0)[0])
    begins = [streams.begins(step) for step in range(5)]
    assert begins == [True, False, True, False, True]


def test_the_last_token_is_a_target_only():
    assert len(Streams(torch.arange(31), 3, 5)) == 2
    assert len(Streams(torch.arange(30), 3, 5)) == 1


def test_bad_streams_are_refused():
    for arguments, words in (
        ((torch.arange(15), 3, 5), "ids: got 15 tokens, expected at least 16"),
        ((torch.arange(16), 0, 5), "batch: got 0"),
        ((torch.arange(16), 3, 0), "segment: got 0"),
        ((torch.rand(30), 3, 5), "ids: got torch.float32"),
    ):
        with pytest.raises(ValueError, match=words):
            Streams(*arguments)


def test_loss_by_position_is_the_mean_of_what_was_read():
    model, ids = tiny(), tokens(1, 25)[0]
    streams = Streams(ids, batch=2, segment=4)
    found = loss_by_position(model, streams, mem_len=6, skip=1)
    memory, losses = Memory(6), []
    for step in range(3):
        x, y = streams.at(step)
        loss = F.cross_entropy(model(x, memory).mT, y, reduction="none")
        losses.append(loss.detach())
    torch.testing.assert_close(found, torch.stack(losses[1:]).mean((0, 1)))


def trained(text, batch, mem_len, steps):
    """The losses of these steps, and what the small model has learned."""
    torch.manual_seed(0)
    model = TransformerXL(TransformerXLConfig(11, 16, 2, 32, 1))
    config = TrainConfig(
        steps=steps, learning_rate=2e-2, min_learning_rate=1e-3, warmup=5
    )
    streams = Streams(text, batch, 6)
    losses = fit_streams(model, streams, config, mem_len)
    return losses, loss_by_position(model, streams, mem_len, skip=1)


def test_a_new_model_guesses_and_a_trained_one_does_not():
    losses, _ = trained(torch.arange(400) % 11, 4, mem_len=6, steps=16)
    assert abs(losses[0] - math.log(11)) < 0.1
    assert losses[-1] < 0.5


def test_training_steps_with_the_memory_that_it_was_given():
    """The first loss of a memory is the same as without, the second not."""
    text = tokens(1, 60)[0]
    (one, *more), (two, *others) = (
        trained(text, 4, mem_len, steps=2)[0] for mem_len in (0, 6)
    )
    assert one == two
    assert more[0] != others[0]
