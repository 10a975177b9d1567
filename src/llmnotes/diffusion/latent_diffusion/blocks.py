"""What U-Net and autoencoder are made of: blocks over pictures.

    channels = numbers at each place of a picture
    groups   = sets of channels that GroupNorm centres and scales together
    time     = what the network knows of the step, one row per picture
    context  = tokens to read from, such as those of a caption

Names of attributes are those of diffusers' checkpoints. Its ε of GroupNorm
is 1e-5 in the U-Net's residual blocks and 1e-6 everywhere else.

Sources
- Ho et al. 2020, "Denoising Diffusion Probabilistic Models", arXiv
  2006.11239, appendix B (residual blocks that read the time).
- Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion
  Models", arXiv 2112.10752, §3.3 (cross-attention) and appendix E.
- Wu and He 2018, "Group Normalization", arXiv 1803.08494.
- Odena et al. 2016, "Deconvolution and Checkerboard Artifacts", Distill
  (repeat pixels, then convolve).
"""

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.transformer.attention import merge_heads, split_heads

EPS = 1e-6


class ResidualBlock(nn.Module):
    """x and what two convolutions add to it, in the same rows and columns.

    Where the number of channels changes, x passes a 1 × 1 convolution.
    """

    def __init__(self, input: int, output: int, groups: int, eps: float = EPS):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, input, eps)
        self.conv1 = nn.Conv2d(input, output, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, output, eps)
        self.conv2 = nn.Conv2d(output, output, 3, padding=1)
        self.conv_shortcut = nn.Identity()
        if input != output:
            self.conv_shortcut = nn.Conv2d(input, output, 1)

    def forward(
        self, x: Float[Tensor, "batch input rows columns"]
    ) -> Float[Tensor, "batch output rows columns"]:
        """Norm, silu, convolution, twice."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return self.conv_shortcut(x) + h


class TimedBlock(ResidualBlock):
    """A residual block that shifts its channels by what time it is.

    Source: Ho et al. 2020, appendix B.
    """

    def __init__(
        self, input: int, output: int, groups: int, eps: float, time: int
    ):
        super().__init__(input, output, groups, eps)
        self.time_emb_proj = nn.Linear(time, output)

    def forward(
        self,
        x: Float[Tensor, "batch input rows columns"],
        time: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch output rows columns"]:
        """The shift comes between the convolutions, before the norm."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(time)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return self.conv_shortcut(x) + h


class Attention(nn.Module):
    """Every place asks, the tokens of a context answer.

    Queries, keys and values are without bias, the output has one.

    Source: Rombach et al. 2022, §3.3.
    """

    def __init__(
        self, width: int, heads: int, context: int, *, bias: bool = False
    ):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias)
        self.to_k = nn.Linear(context, width, bias)
        self.to_v = nn.Linear(context, width, bias)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(
        self,
        x: Float[Tensor, "batch query d_model"],
        context: Float[Tensor, "batch key context_width"],
    ) -> Float[Tensor, "batch query d_model"]:
        """Attend from x to the context, which may be x itself."""
        query = split_heads(self.to_q(x), self.heads)
        key = split_heads(self.to_k(context), self.heads)
        value = split_heads(self.to_v(context), self.heads)
        out = F.scaled_dot_product_attention(query, key, value)
        return self.to_out(merge_heads(out))


class PictureAttention(Attention):
    """Every place of a picture reads from all others, with one head."""

    def __init__(self, channels: int, groups: int):
        super().__init__(channels, 1, channels, bias=True)
        self.group_norm = nn.GroupNorm(groups, channels, EPS)

    def forward(
        self, x: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """X and what it read, place by place."""
        places = as_tokens(self.group_norm(x))
        return x + as_picture(super().forward(places, places), x.shape[-1])


def as_tokens(
    x: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch length channels"]:
    """The places of a picture in reading order, one token each."""
    return rearrange(x, "batch channels rows columns -> "
                        "batch (rows columns) channels")  # fmt: skip


def as_picture(
    x: Float[Tensor, "batch length channels"], columns: int
) -> Float[Tensor, "batch channels rows columns"]:
    """Tokens back in their places."""
    there = "batch (rows columns) channels -> batch channels rows columns"
    return rearrange(x, there, columns=columns)


class Downsample(nn.Module):
    """Half the rows and columns: a convolution in steps of two."""

    def __init__(self, channels: int, padding: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 2, padding)

    def forward(
        self, x: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels rows//2 columns//2"]:
        """Windows begin one pixel above and left of the picture."""
        return self.conv(x)


class CornerDownsample(Downsample):
    """The autoencoder's: windows begin in the picture and end beyond it."""

    def __init__(self, channels: int):
        super().__init__(channels, padding=0)

    def forward(
        self, x: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels rows//2 columns//2"]:
        """A row of zeros below, a column on the right."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Twice the rows and columns: pixels repeated, then a convolution.

    Source: Odena et al. 2016.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels 2*rows 2*columns"]:
        """Each pixel becomes four."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def check_channels(**given: Tensor | int) -> None:
    """Raise `ValueError` unless a tensor has so many channels.

    Two arguments: the tensor, and the config's field with their number.
    """
    (name, x), (field, wanted) = given.items()
    if x.shape[1] != wanted:
        raise ValueError(
            f"{name}: got {x.shape[1]} channels, expected {field} = {wanted}"
        )


def check_grid(name: str, x: Tensor, factor: int) -> None:
    """Raise `ValueError` unless factor divides rows and columns."""
    rows, columns = x.shape[2:]
    if rows % factor or columns % factor:
        raise ValueError(
            f"{name}: got {rows} rows and {columns} columns, expected "
            f"multiples of {factor}"
        )
