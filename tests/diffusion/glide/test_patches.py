"""Patches: nothing is lost, and each token is the square it should be."""

import pytest
import torch

from llmnotes.diffusion.glide import patchify, unpatchify

SIZES = [  # batch, channels, rows, columns, patch
    (2, 3, 15, 21, 3),
    (3, 5, 7, 14, 7),
    (1, 8, 4, 6, 1),
    (2, 1, 9, 9, 9),
]


@pytest.mark.parametrize("batch, channels, rows, columns, patch", SIZES)
def test_unpatchify_undoes_patchify(batch, channels, rows, columns, patch):
    x = torch.randn(batch, channels, rows, columns)
    tokens = patchify(x, patch)
    count = (rows // patch) * (columns // patch)
    assert tokens.shape == (batch, count, channels * patch**2)
    assert torch.equal(unpatchify(tokens, patch, rows), x)


def test_a_token_is_one_square_of_the_picture():
    x = torch.arange(2 * 4 * 6.0).view(1, 2, 4, 6)
    tokens = patchify(x, 2)
    # The fifth of two rows of three: the second row's second square.
    assert torch.equal(tokens[0, 4], x[0, :, 2:4, 2:4].flatten())


def test_patches_are_those_of_a_convolution():
    x = torch.randn(2, 3, 6, 8)
    layer = torch.nn.Conv2d(3, 5, kernel_size=2, stride=2)
    theirs = layer(x).flatten(2).mT
    weight = layer.weight.flatten(1)
    ours = torch.nn.functional.linear(patchify(x, 2), weight, layer.bias)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "shape, message",
    [
        ((1, 3, 15, 16), "patch: got 4, expected a divisor of rows = 15"),
        ((1, 3, 16, 18), "patch: got 4, expected a divisor of columns = 18"),
    ],
)
def test_sides_that_patches_do_not_fill_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        patchify(torch.zeros(shape), 4)
