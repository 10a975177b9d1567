"""The network of the digits: what it reads, and where it begins."""

import math

import pytest
import torch

from llmnotes.diffusion.ddpm import MLPConfig, ResidualMLP
from llmnotes.diffusion.ddpm.network import sines

CONFIG = MLPConfig(size=6, classes=3, width=20, depth=2, about=8)


def network():
    torch.manual_seed(0)
    made = ResidualMLP(CONFIG)
    with torch.no_grad():  # the gates begin at 0
        for p in made.parameters():
            p.add_(0.2 * torch.randn(p.shape))
    return made


def inputs(batch=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 2, 3, generator=draw)
    time = torch.rand(batch, generator=draw)
    return x, time, torch.randint(3, (batch,), generator=draw)


def test_sines_have_frequencies_from_fast_to_slow():
    found = sines(torch.tensor([0.5]), 8, fastest=1000.0)[0]
    angles = [500 * 1e4 ** (-i / 4) for i in range(4)]
    expected = [*map(math.cos, angles), *map(math.sin, angles)]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_blocks_say_nothing_before_they_have_learned():
    torch.manual_seed(0)
    made, (x, time, classes) = ResidualMLP(CONFIG), inputs()
    plain = made.write(made.norm(made.read(x.flatten(1)))).view_as(x)
    torch.testing.assert_close(made(x, time, classes), plain)


def test_a_block_shifts_scales_and_gates_what_it_adds():
    block = network().blocks[0]
    draw = torch.Generator().manual_seed(1)
    h, about = (torch.randn(5, n, generator=draw) for n in (20, 8))
    said = about @ block.modulation.weight.T + block.modulation.bias
    shift, scale, gate = said[:, :20], said[:, 20:40], said[:, 40:]
    middle = h - h.mean(1, keepdim=True)
    calm = middle / (middle.square().mean(1, keepdim=True) + 1e-5).sqrt()
    first, _, second = block.branch
    inside = (calm * (1 + scale) + shift) @ first.weight.T + first.bias
    inside = inside * torch.sigmoid(inside)
    added = inside @ second.weight.T + second.bias
    torch.testing.assert_close(block(h, about), h + gate * added)


def test_pictures_time_and_class_are_all_read():
    made, (x, time, classes) = network(), inputs()
    said = made(x, time, classes)
    assert said.shape == x.shape
    for other in (
        (x + 0.1, time, classes),
        (x, time + 0.1, classes),
        (x, time, (classes + 1) % 3),
    ):
        assert (made(*other) - said).abs().amin() > 1e-6


def test_each_picture_is_read_by_itself():
    made, (x, time, classes) = network(), inputs()
    alone = [made(x[i, None], time[i, None], classes[i, None])
             for i in range(5)]  # fmt: skip
    torch.testing.assert_close(made(x, time, classes), torch.cat(alone))


def test_no_class_is_a_class_of_its_own():
    made, (x, time, classes) = network(), inputs()
    nothing = made.nothing(classes)
    assert nothing.tolist() == [3] * 5
    torch.testing.assert_close(made(x, time), made(x, time, nothing))
    assert (made(x, time) - made(x, time, classes)).abs().amin() > 1e-6


def test_all_of_it_learns():
    made, (x, time, classes) = network(), inputs()
    made(x, time, classes).square().mean().backward()
    for name, p in made.named_parameters():
        if name.startswith("classes"):
            assert p.grad[classes].abs().amin(1).max() > 0
        else:
            assert p.grad.abs().max() > 0, name


def test_the_digits_network_has_405184_weights():
    count = sum(p.numel() for p in ResidualMLP(MLPConfig()).parameters())
    assert count == 405_184
