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
from llmnotes.train import adamw
from llmnotes.train_config import TrainConfig
from tests.models.transformer_xl.tiny import as_readers_call, tiny, tokens


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
        ((torch.arange(0), 3, 5), "ids: got 0 tokens, expected at least 16"),
        ((torch.arange(16), 3.0, 5), "batch: got 3.0, expected an integer"),
        ((torch.zeros(2, 30).int(), 3, 5), r"ids: got shape \(2, 30\)"),
    ):
        with as_readers_call(), pytest.raises(ValueError, match=words):
            Streams(*arguments)


def test_steps_that_cannot_be_are_refused():
    streams = Streams(torch.arange(32), batch=3, segment=5)
    for ask in streams.at, streams.begins:
        with (
            as_readers_call(),
            pytest.raises(ValueError, match="step: got -1, expected at leas"),
        ):
            ask(-1)
        with (
            as_readers_call(),
            pytest.raises(ValueError, match="step: got 1.5, expected an in"),
        ):
            ask(1.5)


def test_there_is_something_left_to_count():
    streams = Streams(tokens(1, 41)[0], batch=2, segment=5)
    assert len(loss_by_position(tiny(), streams, 3, skip=3)) == 5
    for skip, words in (
        (4, "skip: got 4, expected less than the 4 segments of the streams"),
        (-1, "skip: got -1, expected at least 0"),
    ):
        with pytest.raises(ValueError, match=words):
            loss_by_position(tiny(), streams, 3, skip)


def test_what_cannot_be_trained_on_is_refused_before_a_step():
    model, config = tiny(), TrainConfig(steps=4)
    before = [p.clone() for p in model.parameters()]
    good = tokens(1, 41)[0]
    late = good.clone()
    late[-1] = 11  # the last target, of the fourth step
    for ids, mem_len, words in (
        (late, 5, "ids: got 0 to 11, expected 0 to 10"),
        (good, -1, "mem_len: got -1"),
        (good, 1.5, "mem_len: got 1.5, expected an integer"),
    ):
        with as_readers_call(), pytest.raises(ValueError, match=words):
            fit_streams(model, Streams(ids, 2, 5), config, mem_len)
    assert not model.training
    for old, new in zip(before, model.parameters(), strict=True):
        assert torch.equal(old, new)


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


class Noisy(TransformerXL):
    """Says in which mode it was called, and has what to clip."""

    modes: list[bool]

    def forward(self, ids, memory=None):
        self.modes.append(self.training)
        return super().forward(ids, memory)


def test_a_model_trains_in_training_mode_and_is_read_in_the_other():
    streams = Streams(tokens(1, 41)[0], 2, 5)
    model = tiny(kind=Noisy)
    model.modes = []
    fit_streams(model, streams, TrainConfig(steps=2, warmup=1), 3)
    assert model.modes == [True, True]
    model.modes = []
    loss_by_position(model, streams, 3)
    assert model.modes == [False] * 4
    assert model.training


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_a_step_is_that_of_adamw_on_this_segment_alone(clip):
    """Written out: no gradient of the step before, and clipped to a norm."""
    config = TrainConfig(
        steps=3,
        learning_rate=2e-2,
        min_learning_rate=1e-3,
        warmup=1,
        weight_decay=0.1,
        clip=clip,
    )
    streams = Streams(tokens(1, 41)[0], 2, 5)
    ours, theirs = tiny(), tiny()
    fit_streams(ours, streams, config, 3)
    optimizer, memory = adamw(theirs, config), Memory(3)
    wanted = list(theirs.parameters())
    for step in range(3):
        ids, targets = streams.at(step)
        loss = F.cross_entropy(theirs(ids, memory).mT, targets)
        found = torch.autograd.grad(loss, wanted)
        norm = torch.stack([g.norm() for g in found]).norm()
        scale = min(1.0, clip / norm.item()) if clip else 1.0
        for parameter, gradient in zip(wanted, found, strict=True):
            parameter.grad = gradient * scale
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step)
        optimizer.step()
    torch.testing.assert_close(
        list(ours.parameters()), wanted, rtol=1e-4, atol=1e-6
    )
