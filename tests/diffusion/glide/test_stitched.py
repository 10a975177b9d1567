"""Two convolutions around the patches."""

import pytest
import torch
import torch.nn.functional as F

from llmnotes.diffusion.glide import Stitched
from tests.diffusion.glide import small


def network(seed=0):
    """A small one, all of its weights stirred."""
    return small.stirred(Stitched(small.SHAPE, small.captions()), seed)


def test_it_is_a_convolution_patches_and_a_convolution():
    net, x, time = network(), small.pictures(), torch.rand(3)
    seen = F.conv2d(x, net.first.weight, net.first.bias, padding=2)
    inner = seen + net.dit(seen, time, small.IDS)
    cdf = (1 + torch.erf(inner / 2**0.5)) / 2
    expected = F.conv2d(inner * cdf, net.last.weight, net.last.bias, padding=2)
    torch.testing.assert_close(net(x, time, small.IDS), expected)


def test_untrained_it_says_nothing():
    net = Stitched(small.SHAPE, small.captions())
    assert not net(small.pictures(), torch.rand(3), small.IDS).any()


def test_a_pixel_is_drawn_by_what_lies_beyond_its_patch_too():
    net = network()
    with torch.no_grad():
        net.dit.write.weight.zero_()  # so that patches say the same of all
    x = small.pictures().requires_grad_()
    net(x, torch.rand(3), small.IDS)[1, 0, 0, 0].backward()
    near = (torch.arange(6)[:, None] <= 4) & (torch.arange(9) <= 4)
    moved = x.grad.abs().sum(1) > 0
    assert torch.equal(moved[1], near)  # twice two pixels to each side
    assert not moved[[0, 2]].any()


def test_muon_moves_the_layers_of_patches_and_of_words():
    net = network()
    assert len(net.h) == small.SHAPE.depth + len(net.encoder.layers)
    moved = {id(p) for p in net.h.parameters()}
    assert id(net.encoder.layers[0].up.weight) in moved
    assert id(net.encoder.tokens.weight) not in moved
    looker = Stitched(small.SHAPE, small.looker().encoder)
    assert len(looker.h) == small.SHAPE.depth


def test_no_condition_is_the_one_that_says_nothing():
    net, x, time = network(), small.pictures(), torch.rand(3)
    nothing = net.nothing(small.IDS)
    assert torch.equal(net(x, time), net(x, time, nothing))
    assert not torch.allclose(net(x, time), net(x, time, small.IDS))


def test_every_weight_is_used():
    net = network()
    out = net(small.pictures(), torch.rand(3), small.IDS)
    out.square().sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name


def test_pictures_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"x: got \(3, 6, 6\), expected"):
        network()(torch.zeros(1, 3, 6, 6), torch.zeros(1), small.IDS[:1])
