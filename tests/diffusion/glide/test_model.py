"""The patch transformer against diffusers, PyTorch, and by what it must do."""

import pytest
import torch
from torch import nn

from llmnotes.diffusion.ddpm.network import sines
from llmnotes.diffusion.glide import (
    DiT,
    DiTConfig,
    Vectors,
    patchify,
    unpatchify,
)
from llmnotes.diffusion.glide.layers import CrossAttention
from llmnotes.diffusion.glide.model import places
from tests.diffusion.glide import small, witness

WIDTH, HEADS, CONTEXT = 12, 3, 10


def test_a_block_is_that_of_diffusers_in_every_gradient():
    shape = DiTConfig(width=WIDTH, heads=HEADS, context=CONTEXT)
    (out, ours), (expected, theirs) = witness.both(shape)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    assert len(ours) == len(theirs) == 22
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    # A key's bias adds the same to all scores of a query: softmax drops it.
    assert sum(bool(b.abs().max() < 1e-9) for b in theirs) == 2


def test_the_network_is_diffusers_blocks_between_patches_and_pixels():
    net, x, time = small.network(), small.pictures(), torch.rand(3)
    net, x, time = net.double(), x.double(), time.double()
    shape, read = net.config, net.encoder(small.IDS)
    about = net.time(sines(time, shape.width)) + net.summary(read.summary)
    bias = torch.zeros(3, 1, 5).double()
    bias = bias.masked_fill(~read.visible[:, None], -torch.inf)
    h = net.read(patchify(x, shape.patch)) + net.places
    for block in net.h:
        h = witness.theirs(block, shape)(
            h, timestep=about, encoder_hidden_states=read.vectors,
            encoder_attention_mask=bias,
        )  # fmt: skip
    shift, scale = net.modulation(nn.functional.silu(about)).chunk(2, dim=-1)
    norm = nn.LayerNorm(shape.width, 1e-6, elementwise_affine=False)
    said = net.write(norm(h) * (1 + scale[:, None]) + shift[:, None])
    # DiT's own way to put patches together, but for the order of channels.
    said = said.view(3, 2, 3, 2, 3, 3)
    expected = torch.einsum("nhwcpq->nchpwq", said).reshape(3, 2, 6, 9)
    torch.testing.assert_close(net(x, time, small.IDS), expected)


def test_cross_attention_is_that_of_pytorch():
    ours = small.stirred(CrossAttention(WIDTH, CONTEXT, HEADS)).double()
    other = nn.MultiheadAttention(
        WIDTH, HEADS, kdim=CONTEXT, vdim=CONTEXT, batch_first=True
    ).double()
    key, value = ours.key_value.weight.chunk(2)
    with torch.no_grad():
        other.q_proj_weight.copy_(ours.query.weight)
        other.k_proj_weight.copy_(key)
        other.v_proj_weight.copy_(value)
        other.in_proj_bias.copy_(
            torch.cat([ours.query.bias, ours.key_value.bias])
        )
        other.out_proj.weight.copy_(ours.out.weight)
        other.out_proj.bias.copy_(ours.out.bias)
    x, _, vectors, visible = witness.given(
        DiTConfig(width=WIDTH, heads=HEADS, context=CONTEXT)
    )
    expected, _ = other(x, vectors, vectors, key_padding_mask=~visible)
    torch.testing.assert_close(ours(x, vectors, visible), expected)


def test_an_untrained_network_says_nothing_and_every_block_passes_on():
    shape = small.SHAPE
    net = DiT(shape, small.captions())
    assert not net(small.pictures(), torch.rand(3), small.IDS).any()
    x, about = torch.randn(3, 6, 12), torch.randn(3, 12)
    read = net.encoder(small.IDS)
    assert torch.equal(net.h[0](x, about, read), x)


def test_every_weight_is_used():
    net = small.network()
    out = net(small.pictures(), torch.rand(3), small.IDS)
    out.square().sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name


def test_without_positions_patches_can_be_exchanged():
    # What the network says of a patch moves with it, wherever it goes.
    net = small.network()
    order = torch.tensor([4, 0, 5, 1, 3, 2])
    x, time = small.pictures(), torch.rand(3)
    rows, patch = net.config.rows, net.config.patch

    def moved(x):
        return unpatchify(patchify(x, patch)[:, order], patch, rows)

    said = net(moved(x), time, small.IDS)
    assert not torch.allclose(said, moved(net(x, time, small.IDS)), atol=1e-3)
    with torch.no_grad():
        net.places.zero_()
    said = net(moved(x), time, small.IDS)
    torch.testing.assert_close(said, moved(net(x, time, small.IDS)))


def test_positions_begin_as_a_row_and_a_column():
    shape = DiTConfig(
        rows=8, columns=12, patch=4, width=500, heads=1, places=0.5
    )
    torch.manual_seed(0)
    (a, b, c), (d, e, f) = places(shape).unflatten(0, (2, 3))
    torch.testing.assert_close(a - b, d - e)
    torch.testing.assert_close(a - d, c - f)
    assert not torch.allclose(a - b, b - c, atol=0.1)
    assert abs(torch.stack([a, b, c, d, e, f]).std().item() - 0.5) < 0.05


def test_no_condition_is_the_one_that_says_nothing():
    net, x, time = small.network(), small.pictures(), torch.rand(3)
    nothing = net.nothing(small.IDS)
    assert torch.equal(net(x, time), net(x, time, nothing))
    assert not torch.allclose(net(x, time), net(x, time, small.IDS))
    net, vectors = small.looker(), torch.randn(3, 5, 4)
    nothing = net.nothing(vectors[:, :1])
    assert torch.equal(net(x, time), net(x, time, nothing))
    assert not torch.allclose(net(x, time), net(x, time, vectors))


def test_each_picture_reads_its_own_caption_and_time():
    net, x, time = small.network(), small.pictures(), torch.rand(3)
    whole = net(x, time, small.IDS)
    for row in range(3):
        one = slice(row, row + 1)
        alone = net(x[one], time[one], small.IDS[one])
        torch.testing.assert_close(whole[one], alone)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_latents_of_another_shape_and_dtype_come_back_in_it(dtype):
    shape = DiTConfig(
        channels=8, rows=4, columns=4, patch=1, width=8, heads=2, depth=1,
        context=6,
    )  # fmt: skip
    net = small.stirred(DiT(shape, Vectors(3, 6))).to(dtype)
    x = torch.randn(2, 8, 4, 4, dtype=dtype)
    out = net(x, torch.rand(2, dtype=dtype), torch.randn(2, 1, 3, dtype=dtype))
    assert out.shape == x.shape and out.dtype == dtype


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"rows": 15}, "patch: got 4, expected a divisor of rows = 15"),
        ({"columns": 9}, "patch: got 4, expected a divisor of columns = 9"),
        ({"heads": 5}, "heads: got 5, expected a divisor of width = 64"),
        ({"depth": 0}, "depth: got 0, expected at least 1"),
    ],
)
def test_shapes_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DiTConfig(**wrong)


def test_what_does_not_fit_the_network_is_refused():
    with pytest.raises(ValueError, match="encoder: got vectors of 10, exp"):
        DiT(DiTConfig(context=64), small.captions())
    net = small.network()
    with pytest.raises(ValueError, match=r"x: got \(3, 6, 9\), expected cha"):
        net(torch.zeros(1, 3, 6, 9), torch.zeros(1), small.IDS[:1])
