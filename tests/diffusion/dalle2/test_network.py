"""The network of embeddings: equal to NumPy's, told what a caption says."""

import numpy as np
import pytest
import torch

from llmnotes.diffusion.dalle2 import EmbeddingConfig, EmbeddingNetwork
from llmnotes.diffusion.ddpm import (
    Data,
    Denoiser,
    Schedule,
    cosine,
    denoising_loss,
)
from tests.diffusion.dalle2 import small, witness

SHAPES = [(7, 10, 2, 6), (5, 3, 1, 4), (1, 9, 3, 8)]
T = torch.tensor([1, 300, 640, 999])
NEAR = 2e-6  # the frequencies of its clock are float32


def made(features, width, depth, about):
    """A network and a batch, in double precision."""
    shape = EmbeddingConfig(features, width, depth, about)
    model = small.stirred(EmbeddingNetwork(shape)).double()
    x, texts, noise = (small.noise(4, features, seed=s) for s in (1, 2, 3))
    return model, x, texts, noise


@pytest.mark.parametrize("shape", SHAPES)
def test_it_says_what_numpy_says(shape):
    model, x, texts, _ = made(*shape)
    time = T.double() / 1000
    other = witness.Network(model.state_dict())
    expected = other(x.numpy(), time.numpy(), texts.numpy())
    found = model(x, time, texts).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=NEAR)


@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_every_gradient_are_numpys(shape):
    """Gradients by NumPy's slope along a direction, weight by weight."""
    model, images, texts, noise = made(*shape)
    denoiser = Denoiser(model, Schedule(cosine()), Data())
    loss = denoising_loss(denoiser, images, T, noise, texts)
    loss.backward()
    batch = [a.numpy() for a in (images, texts, T, noise)]
    other = witness.Network(model.state_dict())
    assert abs(other.loss(*batch) - loss.item()) < NEAR
    for name, weight in model.named_parameters():
        way = small.noise(*weight.shape, seed=5)
        ends = []
        for sign in (1, -1):
            moved = witness.Network(model.state_dict())
            moved.state[name] = moved.state[name] + sign * 1e-5 * way.numpy()
            ends.append(moved.loss(*batch))
        expected = (ends[0] - ends[1]) / 2e-5
        found = float((weight.grad * way).sum())
        assert abs(found - expected) < 10 * NEAR * max(1, abs(expected)), name


def test_a_caption_is_heard_and_no_caption_is_zeros():
    model, x, texts, _ = made(*SHAPES[0])
    time = T.double() / 1000
    zeros = torch.zeros_like(texts)
    assert torch.equal(model(x, time), model(x, time, zeros))
    assert torch.equal(model.nothing(texts), zeros)
    assert (model(x, time, texts) - model(x, time)).abs().min() > 1e-6


def test_pairs_do_not_see_each_other():
    model, x, texts, _ = made(*SHAPES[0])
    time = T.double() / 1000
    alone = torch.cat(
        [model(x[i : i + 1], time[i : i + 1], texts[i : i + 1])
         for i in range(4)]
    )  # fmt: skip
    torch.testing.assert_close(model(x, time, texts), alone)


REFUSED = {
    "no features": (
        lambda: EmbeddingConfig(features=0),
        "features: got 0, expected at least 1",
    ),
    "no block": (
        lambda: EmbeddingConfig(depth=0),
        "depth: got 0, expected at least 1",
    ),
    "another width": (
        lambda: small.network()(
            torch.ones(2, 5), torch.ones(2), torch.ones(2, 5)
        ),
        "x: got embeddings of 5 features, expected 7",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
