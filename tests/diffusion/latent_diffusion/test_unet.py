"""The U-Net against diffusers' UNet2DConditionModel, by hand, and refusals."""

import copy
import math

import pytest
import torch

from llmnotes.diffusion.latent_diffusion import SD1_UNET, SMALL_UNET, UNet
from llmnotes.diffusion.latent_diffusion.unet import step_sinusoids
from tests.diffusion.latent_diffusion.witness import (
    SMALL,
    UNETS,
    apart,
    draw,
    gradients,
    our_unet,
    their_unet,
)

BATCH, TOKENS = 3, 5
STEPS = torch.tensor([0, 437, 999])


@pytest.fixture(scope="module", params=UNETS)
def pair(request):
    """Ours and theirs with the same weights."""
    theirs = their_unet(UNETS[request.param])
    return our_unet(UNETS[request.param], theirs), theirs


@pytest.fixture(scope="module")
def small():
    return our_unet(SMALL)


def inputs(config, rows=1, columns=2, batch=BATCH):
    """Latents, in multiples of what is allowed, and a context."""
    grid = rows * config.factor, columns * config.factor
    return (
        draw(batch, config.in_channels, *grid).requires_grad_(),
        draw(batch, TOKENS, config.cross_attention_dim).requires_grad_(),
    )


def test_its_numbers_are_those_of_diffusers(pair):
    ours, theirs = pair
    for grid in ((1, 2), (3, 1)):
        x, context = inputs(ours.config, *grid)
        expected = theirs(x, STEPS, context).sample
        assert apart(ours(x, STEPS, context), expected) < 1e-10


def test_every_gradient_is_that_of_diffusers(pair):
    ours, theirs = pair
    x, context = inputs(ours.config)
    found = gradients(ours, ours(x, STEPS, context), x, context)
    out = theirs(x, STEPS, context).sample
    for name, expected in gradients(theirs, out, x, context).items():
        assert expected.abs().max() > 1e-6, name
        assert apart(found.pop(name), expected) < 1e-10, name
    assert not found


def test_stable_diffusion_has_so_many_parameters():
    with torch.device("meta"):
        full, small = UNet(SD1_UNET), UNet(SMALL_UNET)
    assert sum(p.numel() for p in full.parameters()) == 859_520_964
    assert sum(p.numel() for p in small.parameters()) == 1_073_928


def test_a_step_is_cosines_before_sines():
    """Two frequencies, 1 and 1/100: the base is 10,000."""
    found = step_sinusoids(torch.tensor([0, 3]), 4)
    by_hand = [math.cos(3), math.cos(0.03), math.sin(3), math.sin(0.03)]
    expected = torch.tensor([[1, 1, 0, 0], by_hand])
    torch.testing.assert_close(found, expected)


def test_a_step_may_lie_between_two(small):
    """Samplers with fewer steps ask there."""
    x, context = inputs(small.config)
    lower, half, upper = (
        small(x, torch.full((BATCH,), t), context) for t in (7, 7.5, 8)
    )
    near = (half - lower).norm(), (half - upper).norm()
    assert max(near) < (upper - lower).norm()


def test_pictures_of_a_batch_do_not_see_each_other(small):
    x, context = inputs(small.config)
    together = small(x, STEPS, context)
    alone = [small(x[[i]], STEPS[[i]], context[[i]]) for i in range(BATCH)]
    assert apart(torch.cat(alone), together) < 1e-12


def test_the_order_of_the_context_does_not_matter(small):
    """It holds positions only where the text encoder put them."""
    x, context = inputs(small.config)
    turned = small(x, STEPS, context.flip(1))
    assert apart(turned, small(x, STEPS, context)) < 1e-12


def test_every_state_of_the_way_down_is_used_once(small):
    """The gradient reaches x at each place; the stack is empty at the end."""
    states = []
    time, context = draw(BATCH, 48), draw(BATCH, TOKENS, 7)
    x = draw(BATCH, 12, 2, 4)
    for level in small.down_blocks:
        x = level(x, states, time, context)
    assert [tuple(s.shape[1:]) for s in states] == [
        (12, 2, 4), (12, 1, 2), (8, 1, 2)
    ]  # fmt: skip
    states.insert(0, draw(BATCH, 12, 2, 4))
    for level in small.up_blocks:
        x = level(x, states, time, context)
    assert x.shape == (BATCH, 12, 2, 4)
    assert states == []


def test_half_precision_stays_half(small):
    x, context = inputs(small.config)
    half = copy.deepcopy(small).bfloat16()
    out = half(x.bfloat16(), STEPS, context.bfloat16())
    assert out.dtype == torch.bfloat16
    assert apart(out.double(), small(x, STEPS, context)) < 0.05


def given(**change):
    x, context = draw(BATCH, 3, 4, 6), draw(BATCH, TOKENS, 7)
    return dict(x=x, t=STEPS, context=context) | change


REFUSALS = {
    "t: got batch 1, expected x's 3": given(t=torch.tensor([7])),
    "t: got shape (), expected (batch,)": given(t=torch.tensor(7)),
    "t: got int, expected a tensor": given(t=7),
    "t: got torch.bool, expected a dtype of numbers": given(t=STEPS > 0),
    "x: got 4 channels, expected in_channels = 3": given(x=draw(3, 4, 4, 6)),
    "x: got 5 rows and 6 columns, expected multiples of 2": given(
        x=draw(3, 3, 5, 6)
    ),
    "x: got 4 rows and 7 columns, expected multiples of 2": given(
        x=draw(3, 3, 4, 7)
    ),
    "x: got shape (3, 4, 6), expected (batch, input, rows, columns)": given(
        x=draw(3, 4, 6)
    ),
    "context: got width 8, expected cross_attention_dim = 7": given(
        context=draw(3, 5, 8)
    ),
    "context: got batch 2, expected x's 3": given(context=draw(2, 5, 7)),
    "context: got shape (3, 7), expected (batch, key, context_width)": given(
        context=draw(3, 7)
    ),
    "context: got dtype torch.float32, expected x's torch.float64": given(
        context=draw(3, 5, 7).float()
    ),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_what_does_not_fit_is_refused_by_name(small, message):
    with pytest.raises(ValueError) as error:
        small(**REFUSALS[message])
    assert str(error.value) == message
