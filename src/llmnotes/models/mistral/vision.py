"""How Pixtral puts images into a text: patches, places in a plane, adapter.

    patch   = PATCH x PATCH pixels, one token
    row, column = place of a patch in its image, each of any size
    half    = head_dim/2 pairs; even ones turn by the row, odd by the column
    IMG, IMG_BREAK, IMG_END = ids that stand for a patch, behind a row of
              patches, and behind the last one

Sources
- Agrawal et al. 2024, "Pixtral 12B", arXiv 2410.07073, §2.
- `transformers` 5: `PixtralVisionModel` (which pairs turn by what).
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_divides, checked
from llmnotes.models.llama import Block, LlamaConfig, RMSNorm
from llmnotes.models.mistral.model import Mistral
from llmnotes.transformer.attention import block_diagonal_mask
from llmnotes.transformer.rope import Rotary, angles_at

PATCH, CHANNELS = 16, 3
IMG, IMG_BREAK, IMG_END = 10, 12, 13
PIXTRAL_VISION = LlamaConfig(
    vocab_size=1,  # it reads no tokens
    hidden_size=1024,
    intermediate_size=4096,
    num_hidden_layers=24,
    num_attention_heads=16,
    rms_norm_eps=1e-5,
)


def plane_angles(
    rows: int, columns: int, theta: Float[Tensor, "half"]
) -> Float[Tensor, "patches half"]:
    """Angles of each patch, row after row: RoPE in two dimensions.

    Even pairs turn by the patch's row, odd pairs by its column, so a score
    depends on how far apart two patches are, across and down.

    Source: Agrawal et al. 2024, §2.
    """
    row = torch.arange(rows).repeat_interleave(columns)
    column = torch.arange(columns).repeat(rows)
    turns = angles_at(row, theta[0::2]), angles_at(column, theta[1::2])
    return torch.cat(turns, dim=-1)


class Vision(nn.Module):
    """Images of any size to a state for each patch.

    Llama's blocks, where every patch of an image sees all of it. Several
    images stand in one row, as packed texts do.

    Raises `ValueError` for an image whose sides PATCH does not divide.
    """

    def __init__(self, config: LlamaConfig):
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.config = config
        self.patch_conv = nn.Conv2d(CHANNELS, width, PATCH, PATCH, bias=False)
        self.ln_pre = RMSNorm(width, eps)
        layers = range(config.num_hidden_layers)
        self.layers = nn.ModuleList(Block(config, i) for i in layers)

    def forward(
        self, images: Sequence[Float[Tensor, "..."]]
    ) -> list[Float[Tensor, "... d_model"]]:
        """States of the patches of each image (CHANNELS, height, width)."""
        for image in images:
            check_sides(image)
        grids = [self.patch_conv(image[None])[0] for image in images]
        shapes = [grid.shape[1:] for grid in grids]
        sizes = [rows * columns for rows, columns in shapes]
        row = [rearrange(grid, "width r c -> (r c) width") for grid in grids]
        x = self.ln_pre(torch.cat(row)[None])
        theta = self.config.frequencies()
        turn = Rotary(torch.cat([plane_angles(*s, theta) for s in shapes]))
        segments = torch.repeat_interleave(torch.tensor(sizes))[None]
        visible = block_diagonal_mask(segments)
        for block in self.layers:
            x = block(x, turn, visible)
        return list(x[0].split(sizes))


def check_sides(image: Tensor) -> None:
    """Raise `ValueError` unless an image is whole patches of colours."""
    if image.ndim != 3 or image.shape[0] != CHANNELS:
        raise ValueError(
            f"images: got shape {tuple(image.shape)}, expected "
            f"({CHANNELS}, height, width)"
        )
    for side in image.shape[1:]:
        check_divides("a side of the image", side, PATCH=PATCH)


def image_ids(height: int, width: int) -> list[int]:
    """What stands in the text for an image of so many pixels."""
    rows, columns = height // PATCH, width // PATCH
    ids = ([IMG] * columns + [IMG_BREAK]) * rows
    return [*ids[:-1], IMG_END]


class Pixtral(nn.Module):
    """A Mistral that also reads images.

    Raises `ValueError` unless there is an IMG in ids for each patch.

    Source: Agrawal et al. 2024, §2.
    """

    def __init__(self, vision: Vision, language: Mistral):
        super().__init__()
        width, wide = vision.config.hidden_size, language.config.hidden_size
        self.vision, self.language = vision, language
        self.adapter = nn.Sequential(
            nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, wide)
        )

    @checked
    def forward(
        self,
        ids: Int[Tensor, "length"],
        images: Sequence[Float[Tensor, "..."]],
    ) -> Float[Tensor, "length vocab"]:
        """Logits of a text in which images stand."""
        states = self.adapter(torch.cat(self.vision(images)))
        count = int((ids == IMG).sum())
        if count != len(states):
            raise ValueError(
                f"ids: got {count} times IMG, expected {len(states)}, one "
                "for each patch"
            )
        x = self.language.model.embed_tokens(ids)
        x = x.masked_scatter((ids == IMG)[:, None], states)
        turn = self.language.turn(torch.arange(len(ids)), x.dtype)
        visible = self.language.reach(len(ids), len(ids), ids.device)
        return self.language.through(x[None], turn, visible)[0]
