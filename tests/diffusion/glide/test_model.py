"""The patch transformer against diffusers, PyTorch, and by what it must do."""

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import nn

from llmnotes.diffusion.glide import (
    Block,
    DiT,
    DiTConfig,
    Read,
    Vectors,
    patchify,
    unpatchify,
)
from llmnotes.diffusion.glide.layers import CrossAttention
from tests.diffusion.glide import small

WIDTH, HEADS, CONTEXT = 12, 3, 10


def theirs(block):
    """diffusers' block with the weights of ours."""
    other = BasicTransformerBlock(
        WIDTH, HEADS, WIDTH // HEADS, cross_attention_dim=CONTEXT,
        activation_fn="linear-silu", num_embeds_ada_norm=1,
        attention_bias=True, norm_type="ada_norm_zero",
        norm_elementwise_affine=False, norm_eps=1e-6,
    ).double()  # fmt: skip
    other.norm1.emb = Given()
    with torch.no_grad():
        for into, part in pairs(block, other):
            into.copy_(part)
    return other


class Given(nn.Module):
    """Hands on what stands for time and caption, before the SiLU."""

    def forward(self, about, *_, **__):
        return about


def pairs(block, other):
    """Their parameters, each with ours."""
    q, k, v = block.attend.qkv.weight.chunk(3)
    bq, bk, bv = block.attend.qkv.bias.chunk(3)
    ck, cv = block.look.key_value.weight.chunk(2)
    cbk, cbv = block.look.key_value.bias.chunk(2)
    one, two = other.attn1, other.attn2
    return [
        (other.norm1.linear.weight, block.modulation.weight),
        (other.norm1.linear.bias, block.modulation.bias),
        (one.to_q.weight, q), (one.to_k.weight, k), (one.to_v.weight, v),
        (one.to_q.bias, bq), (one.to_k.bias, bk), (one.to_v.bias, bv),
        (one.to_out[0].weight, block.attend.out.weight),
        (one.to_out[0].bias, block.attend.out.bias),
        (two.to_q.weight, block.look.query.weight),
        (two.to_q.bias, block.look.query.bias),
        (two.to_k.weight, ck), (two.to_v.weight, cv),
        (two.to_k.bias, cbk), (two.to_v.bias, cbv),
        (two.to_out[0].weight, block.look.out.weight),
        (two.to_out[0].bias, block.look.out.bias),
        (other.ff.net[0].proj.weight, block.up.weight),
        (other.ff.net[0].proj.bias, block.up.bias),
        (other.ff.net[2].weight, block.down.weight),
        (other.ff.net[2].bias, block.down.bias),
    ]  # fmt: skip


def given(batch=3, patches=5, key=7):
    """Tokens, what stands for time, vectors and which there are."""
    draw = torch.Generator().manual_seed(2)

    def noise(*shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    visible = torch.arange(key) < torch.tensor([[4], [7], [1]])
    return (
        noise(batch, patches, WIDTH), noise(batch, WIDTH),
        noise(batch, key, CONTEXT), visible,
    )  # fmt: skip


def gradients(out, weights, like):
    """Of some function of all outputs, by each weight."""
    return torch.autograd.grad((out * like).sum(), weights)


def test_a_block_is_that_of_diffusers_in_every_gradient():
    shape = DiTConfig(width=WIDTH, heads=HEADS, context=CONTEXT)
    block = small.stirred(Block(shape)).double()
    other = theirs(block)
    x, about, vectors, visible = given()
    bias = torch.zeros(visible.shape).double()
    bias = bias.masked_fill(~visible, -torch.inf)[:, None]
    out = block(x, nn.functional.silu(about), Read(vectors, visible, None))
    expected = other(
        x, timestep=about, encoder_hidden_states=vectors,
        encoder_attention_mask=bias,
    )  # fmt: skip
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    like = torch.randn_like(out)
    of_theirs, of_ours = zip(*pairs(block, other), strict=True)
    names = [*block.parameters()]
    ours = dict(zip(names, gradients(out, names, like), strict=True))
    found = [part for _, part in pairs(GradientsOf(block, ours), other)]
    known = gradients(expected, of_theirs, like)
    for a, b in zip(found, known, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    # A key's bias adds the same to all scores of a query: softmax drops it.
    idle = sum(bool(b.abs().max() < 1e-9) for b in known)
    assert idle == 2


class GradientsOf:
    """A block's names, with gradients where it has weights."""

    def __init__(self, module, known):
        self.module, self.known = module, known

    def __getattr__(self, name):
        found = getattr(self.module, name)
        if isinstance(found, nn.Parameter):
            return self.known[found]
        return GradientsOf(found, self.known)


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
    x, _, vectors, visible = given()
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
