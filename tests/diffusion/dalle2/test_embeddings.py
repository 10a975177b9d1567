"""Embeddings: their size, the ways between them, and what is refused."""

import math

import pytest
import torch

from llmnotes.diffusion.dalle2 import (
    angle,
    edited,
    mean_gap,
    scaled,
    slerp,
)
from llmnotes.diffusion.dalle2.embeddings import check_scaled
from llmnotes.diffusion.ddpm import Schedule, cosine
from tests.diffusion.dalle2.small import noise


def test_scaled_by_hand():
    found = scaled(torch.tensor([[3.0, 4.0], [0.0, -0.1]]))
    expected = math.sqrt(2) * torch.tensor([[0.6, 0.8], [0.0, -1.0]])
    torch.testing.assert_close(found, expected)


def test_scaling_leaves_what_it_was_given_and_does_nothing_twice():
    given = noise(3, 7)
    kept = given.clone()
    once = scaled(given)
    assert torch.equal(given, kept)
    torch.testing.assert_close(scaled(once), once)


@pytest.mark.parametrize("features", [2, 7, 64, 513])
def test_numbers_of_scaled_embeddings_have_size_one(features):
    found = scaled(1e-3 * noise(5, features))
    ones = torch.ones(5, dtype=torch.float64)
    torch.testing.assert_close(found.square().mean(1), ones)


def test_squared_error_of_scaled_embeddings_is_twice_the_missing_cosine():
    one, two = scaled(noise(4, 9, seed=1)), scaled(noise(4, 9, seed=2))
    error = (one - two).square().mean(1)
    cosine_ = (one * two).sum(1) / 9
    torch.testing.assert_close(error, 2 * (1 - cosine_))


def test_a_perfect_draw_has_the_squared_cosine_of_the_best_guess():
    """The truth and a draw share the mean of their caption, and no more."""
    mean = noise(1, 100)
    truth, drawn = (scaled(mean + noise(4_000, 100, seed=s)) for s in (1, 2))
    best = truth.mean(0, keepdim=True).expand_as(truth)
    guess = angle(best, truth).cos().mean()
    draw = angle(drawn, truth).cos().mean()
    assert abs(float(draw - guess**2)) < 4e-3 and guess > draw + 0.1
    error = (best - truth).square().mean()
    assert abs(float(guess - (1 - error) ** 0.5)) < 2e-3


def test_unit_vectors_drown_in_noise_that_scaled_ones_stand_out_of():
    """At the t where half of x_t is noise, by power, for numbers of size 1."""
    schedule, width = Schedule(cosine()), 512
    bar = schedule.alphas_bar
    half = int((bar - 0.5).abs().argmin())
    ratio = float(bar[half] / (1 - bar[half]))
    vectors = scaled(noise(1, width))
    for z, expected in ((vectors, ratio), (vectors / width**0.5, 1 / width)):
        signal = schedule.alphas[half] * z
        found = signal.square().sum() / (schedule.sigmas[half] ** 2 * width)
        assert abs(float(found) / expected - 1) < 0.02


def test_scaled_embeddings_stay_near_their_sphere_on_the_way_into_noise():
    """Noise is nearly at a right angle to them: squares of lengths add."""
    schedule, width = Schedule(cosine()), 512
    z = scaled(noise(200, width))
    for t in (1, 250, 500, 750, 1000):
        at = torch.full((200,), t)
        x = schedule.noisy(z, at, noise(200, width, seed=t))
        assert abs(float(x.square().mean()) - 1) < 0.01


def test_mean_gap_by_hand():
    texts = torch.tensor([[0.0, 1.0, 5.0], [2.0, 1.0, 5.0]])
    images = torch.tensor([[3.0, 1.0, 0.0], [3.0, 2.0, 0.0]])
    expected = torch.tensor([2.0, 0.5, -5.0])
    torch.testing.assert_close(mean_gap(texts, images), expected)


def test_slerp_by_hand():
    right, up = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    found = slerp(right, up, 1 / 3)
    torch.testing.assert_close(found, torch.tensor([[0.8660254, 0.5]]))


@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 3, 5)])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_equal_shares_turn_by_equal_angles_and_keep_the_length(shape, share):
    first = noise(*shape, seed=1)
    second = noise(*shape, seed=2)
    flat = [x.flatten(1).norm(dim=1) for x in (first, second)]
    second = second * (flat[0] / flat[1]).view(-1, *[1] * (len(shape) - 1))
    found = slerp(first, second, share)
    whole = angle(first, second)
    torch.testing.assert_close(found.flatten(1).norm(dim=1), flat[0])
    torch.testing.assert_close(angle(first, found), share * whole)
    torch.testing.assert_close(angle(found, second), (1 - share) * whole)


def turned(first, second, share):
    """The same by turning in the plane of both: Gram and Schmidt."""
    one = first / first.norm(dim=1, keepdim=True)
    across = second - (second * one).sum(1, keepdim=True) * one
    across = across / across.norm(dim=1, keepdim=True)
    two = second / second.norm(dim=1, keepdim=True)
    turn = share * torch.arccos((one * two).sum(1, keepdim=True))
    length = first.norm(dim=1, keepdim=True)
    return length * (turn.cos() * one + turn.sin() * across)


def test_slerp_is_a_turn_in_the_plane_of_both_with_its_gradients():
    first = scaled(noise(3, 5, seed=1)).requires_grad_()
    second = scaled(noise(3, 5, seed=2)).requires_grad_()
    weights = noise(3, 5, seed=3)
    given = []
    for way in (slerp, turned):
        # Only what keeps both on the sphere is the same for both ways.
        found = way(scaled(first), scaled(second), 0.3)
        total = (weights * found).sum()
        given.append((found, *torch.autograd.grad(total, (first, second))))
    for ours, theirs in zip(*given, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_straight_way_is_shorter_in_the_middle():
    first, second = scaled(noise(6, 9, seed=1)), scaled(noise(6, 9, seed=2))
    middle = (first + second) / 2
    expected = 3 * torch.cos(angle(first, second) / 2)
    torch.testing.assert_close(middle.norm(dim=1), expected)
    assert (middle.norm(dim=1) < 0.95 * 3).all()


def test_equal_vectors_have_a_way_and_gradients_between_them():
    first = scaled(noise(2, 5)).requires_grad_()
    found = slerp(first, first.detach().clone(), 0.4)
    torch.testing.assert_close(found, first)
    found.sum().backward()
    assert torch.isfinite(first.grad).all()


def test_small_angles_are_exact_in_float32():
    first = torch.tensor([[1.0, 0.0]])
    second = torch.tensor([[1.0, 3e-5]])
    assert abs(float(angle(first, second)) / 3e-5 - 1) < 1e-3
    dot = torch.nn.functional.cosine_similarity(first, second)
    assert float(torch.arccos(dot.clamp(max=1))) == 0  # the obvious way


def test_an_edit_turns_towards_what_only_one_caption_has():
    images, before, after = (scaled(noise(4, 9, seed=s)) for s in (1, 2, 3))
    direction = scaled(after - before)
    torch.testing.assert_close(edited(images, before, after, 0.0), images)
    torch.testing.assert_close(edited(images, before, after, 1.0), direction)
    found = [
        (edited(images, before, after, share) * direction).sum(1)
        for share in (0.0, 0.25, 0.5)
    ]
    assert (found[0] < found[1]).all() and (found[1] < found[2]).all()


ONE = torch.tensor([[1.0, 1.0]])
REFUSED = {
    "zeros": (
        lambda: scaled(torch.tensor([[1.0, 2.0], [0.0, 0.0]])),
        "vectors: got row 1 of length 0, expected a direction",
    ),
    "equal captions": (
        lambda: edited(ONE, ONE, ONE, 0.2),
        "vectors: got row 0 of length 0, expected a direction",
    ),
    "unit vectors": (
        lambda: check_scaled("texts", torch.eye(4)),
        "texts: got an embedding of length 1, expected √4 = 2; `scaled` "
        "makes it",
    ),
    "a share beyond": (
        lambda: slerp(ONE, ONE, 1.5),
        "share: got 1.5, expected 0 to 1",
    ),
    "opposites": (
        lambda: slerp(ONE, -ONE, 0.5),
        "second: got the opposite of first, expected less than half a turn "
        "between them",
    ),
    "unlike widths": (
        lambda: mean_gap(ONE, torch.ones(1, 3)),
        "images: got features 3, expected texts' 2",
    ),
    "unlike pictures": (
        lambda: slerp(torch.ones(2, 3, 4), torch.ones(2, 3, 5), 0.5),
        "second: got",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(message)
