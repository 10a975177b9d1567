"""The network on our autograd: its pieces against torch's, and it learns."""

import subprocess
import sys

import numpy as np
import torch
import torch.nn.functional as F

from llmnotes.foundations.autograd import Tensor, gradients
from llmnotes.foundations.autograd.mlp import (
    Adam,
    accuracy,
    batches,
    cross_entropy,
    initialise,
    logits,
    train,
)
from llmnotes.pictures import images
from tests.foundations.autograd import digits

WIDTHS, BATCH = (7, 5, 11, 3), 6


def some_data(dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, WIDTHS[0])).astype(dtype)
    labels = rng.integers(0, WIDTHS[-1], BATCH)
    return x, labels, initialise(WIDTHS, rng, dtype)


def torch_loss(parameters, x, labels):
    x = torch.tensor(x)
    for i in range(0, len(parameters), 2):
        x = x @ parameters[i] + parameters[i + 1]
        if i + 2 < len(parameters):
            x = F.relu(x)
    return F.cross_entropy(x, torch.tensor(labels))


def test_loss_and_gradients_equal_torch():
    x, labels, parameters = some_data()
    theirs = [torch.tensor(p.data, requires_grad=True) for p in parameters]
    loss = cross_entropy(logits(parameters, x), labels)
    expected = torch_loss(theirs, x, labels)
    np.testing.assert_allclose(loss.data, expected.item())
    wanted = torch.autograd.grad(expected, theirs)
    found = gradients(loss, parameters)
    for g, t in zip(found, wanted, strict=True):
        np.testing.assert_allclose(g, t, atol=1e-14)


def test_ten_steps_of_adam_equal_torch():
    x, labels, parameters = some_data()
    theirs = [torch.tensor(p.data, requires_grad=True) for p in parameters]
    ours = Adam(parameters, 1e-2)
    optimizer = torch.optim.Adam(theirs, 1e-2)
    for _ in range(10):
        loss = cross_entropy(logits(parameters, x), labels)
        ours.step(gradients(loss, parameters))
        optimizer.zero_grad()
        torch_loss(theirs, x, labels).backward()
        optimizer.step()
    for p, t in zip(parameters, theirs, strict=True):
        np.testing.assert_allclose(p.data, t.detach(), rtol=1e-9, atol=1e-12)


def test_the_rate_scales_a_step():
    whole, half = (Tensor([1.0]) for _ in range(2))
    Adam([whole], 0.1).step([np.array([3.0])])
    Adam([half], 0.1).step([np.array([3.0])], 0.5)
    np.testing.assert_allclose([whole.data[0], half.data[0]], [0.9, 0.95])


def test_signals_keep_their_size_through_the_layers():
    rng = np.random.default_rng(0)
    parameters = initialise((512,) * 9, rng, np.float64)
    x = rng.standard_normal((64, 512))
    assert 0.5 < logits(parameters, x).data.std() / x.std() < 2


def test_an_epoch_shows_every_example_once():
    rng = np.random.default_rng(0)
    seen = list(batches(11, 4, 2, rng))
    assert [len(b) for b in seen] == [4, 4, 3] * 2
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    assert sorted(first) == sorted(second) == list(range(11))
    assert first.tolist() != second.tolist()


def test_digits_are_learned():
    x, labels = images("digits")
    x = x.reshape(len(x), -1)
    rng = np.random.default_rng(0)
    parameters = initialise((64, 32, 10), rng)
    losses = train(
        parameters,
        x[:1000],
        labels[:1000],
        rng,
        epochs=5,
        learning_rate=1e-2,
        progress=False,
    )
    assert len(losses) == 80
    assert abs(losses[0] - np.log(10)) < 0.7 and np.mean(losses[-16:]) < 0.4
    assert accuracy(parameters, x[1000:], labels[1000:]) > 0.85
    assert {p.dtype for p in parameters} == {np.dtype(np.float32)}


def test_no_digit_that_chooses_a_rate_is_tested():
    for seed in digits.TUNING:
        rest, chosen = digits.parts(seed)
        assert not set(chosen) & set(rest)
        for split in digits.SPLITS:
            learned, test = digits.parts(split)
            assert not set(test) & {*learned, *chosen}
            assert len({*learned, *test}) == 1797 == len(learned) + len(test)


def test_the_numpy_chapter_does_without_torch():
    program = (
        "import sys; sys.modules['torch'] = None; "
        "import llmnotes.foundations.autograd.mlp, llmnotes.pictures"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
