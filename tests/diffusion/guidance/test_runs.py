"""A classifier learns on noisy digits, and another one on clean ones."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmnotes.diffusion.ddpm import Schedule, cosine
from llmnotes.diffusion.guidance.runs import (
    Recognizing,
    RecognizingClean,
    recognizer,
)

SCHEDULE = Schedule(cosine(50))


class Seen(nn.Module):
    """Notes what it is shown; its logits are the first pixels."""

    def forward(self, x, time):
        self.x, self.time = x, time
        return x.flatten(1)[:, 20:30]


def test_what_is_shown_is_noisy_and_its_time_is_told():
    """x_t = α x_0 + σ noise, and the cross-entropy of its class."""
    task, seen = Recognizing(SCHEDULE, size=7, seed=3), Seen()
    x0, classes, t, noise = task.batch(5)
    loss = task.loss(seen, (x0, classes, t, noise))
    alpha, sigma = (
        values[t].float().view(-1, 1, 1)
        for values in (SCHEDULE.alphas, SCHEDULE.sigmas)
    )
    torch.testing.assert_close(seen.x, alpha * x0 + sigma * noise)
    torch.testing.assert_close(seen.time, t / 50)
    expected = F.nll_loss(seen.x.flatten(1)[:, 20:30].log_softmax(1), classes)
    torch.testing.assert_close(loss, expected)
    assert 1 <= t.min() and len(t.unique()) > 3


def test_the_other_is_shown_the_digits_themselves():
    task, seen = RecognizingClean(SCHEDULE, size=7, seed=3), Seen()
    batch = task.batch(5)
    task.loss(seen, batch)
    assert torch.equal(seen.x, batch[0]) and not seen.time.any()
    task.evaluate(seen)
    assert torch.equal(seen.x, task.judge[0]) and not seen.time.any()


@pytest.mark.parametrize("kind", [Recognizing, RecognizingClean])
def test_it_learns_is_frozen_and_learns_the_same_again(kind):
    task = kind(SCHEDULE, size=32)
    few, again, other = (
        recognizer(task, steps=30, seed=seed) for seed in (0, 0, 1)
    )
    weights = [
        nn.utils.parameters_to_vector(c.parameters())
        for c in (few, again, other)
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not few.training and not weights[0].requires_grad
    assert task.evaluate(few) < 2.25  # ln 10 = 2.3 of who knows nothing
