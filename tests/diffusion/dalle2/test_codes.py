"""Principal axes as scikit-learn finds them, and buckets along them."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from llmnotes.diffusion.dalle2 import Codes, Components
from llmnotes.diffusion.dalle2.codes import BOUND
from tests.diffusion.dalle2.small import noise

# Unlike lengths along unlike axes, so that their order is clear.
IMAGES = noise(50, 7) @ (noise(7, 7, seed=1) * torch.arange(1, 8)) + 2


@pytest.mark.parametrize("kept", [1, 4, 7])
def test_axes_and_lengths_are_scikit_learns(kept):
    theirs = PCA(kept, svd_solver="full").fit(IMAGES.numpy())
    ours = Components(IMAGES, kept)
    signs = np.sign((ours.axes.numpy() * theirs.components_).sum(1))
    axes = signs[:, None] * theirs.components_
    np.testing.assert_allclose(ours.axes.numpy(), axes, atol=1e-10)
    spread = np.sqrt(theirs.explained_variance_ * 49 / 50)
    np.testing.assert_allclose(ours.std.numpy(), spread)
    share = theirs.explained_variance_ratio_.sum()
    assert abs(float(ours.share) - share) < 1e-12
    parts = ours.along(IMAGES)
    expected = signs * theirs.transform(IMAGES.numpy())
    np.testing.assert_allclose(parts.numpy(), expected, atol=1e-9)
    back = theirs.inverse_transform(theirs.transform(IMAGES.numpy()))
    np.testing.assert_allclose(ours.back(parts).numpy(), back, atol=1e-9)


def test_what_is_cut_off_is_the_sum_of_the_other_squares():
    every = Components(IMAGES, 7)
    torch.testing.assert_close(every.back(every.along(IMAGES)), IMAGES)
    for kept in (2, 5):
        back = every.back(every.along(IMAGES)[:, :kept])
        lost = (back - IMAGES).square().sum(1).mean()
        torch.testing.assert_close(lost, every.std[kept:].square().sum())


def test_a_bucket_by_hand():
    codes = Codes(IMAGES, kept=2, buckets=4)
    std = codes.components.std
    # Four buckets from -3 to 3 are 1.5 wide, their middles at ±0.75, ±2.25.
    parts = torch.tensor([[0.1, -1.6], [-0.1, 7.0], [2.9, -9.0]]) * std
    images = codes.components.back(parts)
    expected = torch.tensor([[2, 0], [1, 3], [3, 0]])
    assert torch.equal(codes.encode(images), expected)
    middles = torch.tensor([[0.75, -2.25], [-0.75, 2.25], [2.25, -2.25]])
    found = codes.components.along(codes.decode(expected))
    torch.testing.assert_close(found, middles * std)


@pytest.mark.parametrize("buckets", [3, 8, 33])
def test_what_is_coded_comes_back_to_half_a_bucket(buckets):
    codes = Codes(IMAGES, kept=7, buckets=buckets)
    parts, std = codes.components.along(IMAGES), codes.components.std
    back = codes.components.along(codes.decode(codes.encode(IMAGES)))
    inside = (parts.abs() < BOUND * std).all(1)
    assert inside.sum() > 40
    error = ((back - parts) / std)[inside].abs().max()
    assert error <= BOUND / buckets + 1e-12
    edges = np.linspace(-BOUND, BOUND, buckets + 1)[1:-1]
    digits = np.digitize((parts / std).numpy(), edges)
    assert np.array_equal(codes.encode(IMAGES).numpy(), digits)


def test_codes_of_what_codes_say_are_the_same_codes():
    codes = Codes(IMAGES, kept=5, buckets=6)
    found = codes.encode(IMAGES)
    assert torch.equal(codes.encode(codes.decode(found)), found)


def test_codes_follow_their_state():
    one, two = Codes(IMAGES, 3, 4), Codes(noise(20, 7, seed=9), 3, 4)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.encode(IMAGES), two.encode(IMAGES))


REFUSED = {
    "no bucket": (
        lambda: Codes(IMAGES, 2, 0),
        "buckets: got 0, expected at least 1",
    ),
    "more axes than features": (
        lambda: Codes(IMAGES, 8),
        "kept: got 8, expected at most 7 axes of 50 embeddings of 7 features",
    ),
    "more axes than embeddings": (
        lambda: Components(IMAGES[:4], 5),
        "kept: got 5, expected at most 4 axes of 4 embeddings of 7 features",
    ),
    "no such bucket": (
        lambda: Codes(IMAGES, 2, 4).decode(torch.tensor([[0, 4]])),
        "codes: got 0 to 4, expected 0 to 3",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
