"""diffusers' block with the weights of ours."""

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import nn

from llmnotes.diffusion.glide import Block, DiTConfig, Read
from tests.diffusion.glide import small


class Given(nn.Module):
    """Hands on what stands for time and caption, before the SiLU."""

    def forward(self, about, *_, **__):
        """What was given."""
        return about


class GradientsOf:
    """A block's names, with gradients where it has weights."""

    def __init__(self, module, known):
        self.module, self.known = module, known

    def __getattr__(self, name):
        found = getattr(self.module, name)
        if isinstance(found, nn.Parameter):
            return self.known[found]
        return GradientsOf(found, self.known)


def theirs(block: Block, shape: DiTConfig):
    """diffusers' block with the weights of ours."""
    other = BasicTransformerBlock(
        shape.width, shape.heads, shape.width // shape.heads,
        cross_attention_dim=shape.context, activation_fn="linear-silu",
        num_embeds_ada_norm=1, attention_bias=True, norm_eps=1e-6,
        norm_type="ada_norm_zero", norm_elementwise_affine=False,
    ).double()  # fmt: skip
    other.norm1.emb = Given()
    with torch.no_grad():
        for into, part in pairs(block, other):
            into.copy_(part)
    return other


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


def given(shape: DiTConfig, batch=3, patches=5, key=7):
    """Tokens, what stands for time, vectors and which there are."""
    draw = torch.Generator().manual_seed(2)

    def noise(*size):
        return torch.randn(size, generator=draw, dtype=torch.float64)

    visible = torch.arange(key) < torch.tensor([[4], [7], [1]])
    return (
        noise(batch, patches, shape.width), noise(batch, shape.width),
        noise(batch, key, shape.context), visible,
    )  # fmt: skip


def gradients(out, weights):
    """Of one function of all outputs, by each weight."""
    draw = torch.Generator().manual_seed(4)
    like = torch.randn(out.shape, generator=draw, dtype=out.dtype)
    return torch.autograd.grad((out * like).sum(), weights)


def both(shape: DiTConfig):
    """Outputs and gradients: ours and theirs."""
    block = small.stirred(Block(shape)).double()
    other = theirs(block, shape)
    x, about, vectors, visible = given(shape)
    bias = torch.zeros(visible.shape, dtype=torch.float64)
    bias = bias.masked_fill(~visible, -torch.inf)[:, None]
    read = Read(vectors, visible, vectors.mean(1))
    out = block(x, nn.functional.silu(about), read)
    expected = other(
        x, timestep=about, encoder_hidden_states=vectors,
        encoder_attention_mask=bias,
    )  # fmt: skip
    weights = list(block.parameters())
    known = dict(zip(weights, gradients(out, weights), strict=True))
    ours = [part for _, part in pairs(GradientsOf(block, known), other)]
    into = [part for part, _ in pairs(block, other)]
    return (out, ours), (expected, gradients(expected, into))


def apart(shape: DiTConfig) -> tuple[float, float]:
    """The largest difference of outputs and of gradients."""
    (out, ours), (expected, known) = both(shape)
    pairs_ = zip(ours, known, strict=True)
    largest = max((a - b).abs().max().item() for a, b in pairs_)
    return (out - expected).abs().max().item(), largest
