"""The towers of CLIP: one reads captions, the other looks at images.

    images   = pixels, (batch, channels, rows, columns)
    ids      = a caption as integers, with an end-of-text token in it

Names of attributes follow Hugging Face's checkpoints, `pre_layrnorm` with
its slip included. A variant of a tower is another module with `width`.

Sources
- Radford et al. 2021, "Learning Transferable Visual Models From Natural
  Language Supervision", arXiv 2103.00020, §2.4 (towers).
- Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words", arXiv 2010.11929,
  §3.1 (an image as patches, and the class token).
- Hendrycks & Gimpel 2016, "GELU", arXiv 1606.08415, §2 (x·σ(1.702x)).
"""

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.checks import check_length, check_within, seen
from llmnotes.diffusion.clip.config import (
    LARGEST,
    TextConfig,
    TowerConfig,
    VisionConfig,
)
from llmnotes.transformer.attention import (
    attention,
    merge_heads,
    split_heads,
)


def quick_gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x·σ(1.702x), the sigmoid's approximation of GELU.

    It differs from x·Φ(x) by at most 0.0203, at |x| = 2.27.

    Source: Hendrycks & Gimpel 2016, §2.
    """
    return x * torch.sigmoid(1.702 * x)


BENDS = {"quick_gelu": quick_gelu, "gelu": F.gelu}


class Attention(nn.Module):
    """Several heads on learned projections, as in the first transformer."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        self.heads, width = config.num_attention_heads, config.hidden_size
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "batch length d_model"], causal: bool
    ) -> Float[Tensor, "batch length d_model"]:
        """Attend to all tokens, or to those that came before."""
        projections = self.q_proj, self.k_proj, self.v_proj
        heads = [split_heads(p(x), self.heads) for p in projections]
        return self.out_proj(merge_heads(attention(*heads, causal=causal)))


class MLP(nn.Module):
    """Each position on its own: widen, bend, narrow again."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        width, wide = config.hidden_size, config.intermediate_size
        self.bend = BENDS[config.hidden_act]
        self.fc1, self.fc2 = nn.Linear(width, wide), nn.Linear(wide, width)

    def forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length d_model"]:
        """Return W₂·bend(W₁x)."""
        return self.fc2(self.bend(self.fc1(x)))


class Layer(nn.Module):
    """A pre-norm block: attention, then the MLP, each added to x."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        width, eps = config.hidden_size, config.layer_norm_eps
        self.self_attn, self.mlp = Attention(config), MLP(config)
        self.layer_norm1 = nn.LayerNorm(width, eps)
        self.layer_norm2 = nn.LayerNorm(width, eps)

    def forward(
        self, x: Float[Tensor, "batch length d_model"], causal: bool
    ) -> Float[Tensor, "batch length d_model"]:
        """Add what attention and what the MLP says."""
        x = x + self.self_attn(self.layer_norm1(x), causal)
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """Layer upon layer."""

    def __init__(self, config: TowerConfig):
        super().__init__()
        layers = (Layer(config) for _ in range(config.num_hidden_layers))
        self.layers = nn.ModuleList(layers)

    def forward(
        self, x: Float[Tensor, "batch length d_model"], causal: bool = False
    ) -> Float[Tensor, "batch length d_model"]:
        """Pass through all layers; `causal` hides what comes later."""
        for layer in self.layers:
            x = layer(x, causal)
        return x


class TextEmbeddings(nn.Module):
    """What a token is and where it stands."""

    def __init__(self, config: TextConfig):
        super().__init__()
        width = config.hidden_size
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.position_embedding = nn.Embedding(
            config.max_position_embeddings, width
        )

    def forward(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length d_model"]:
        """Return token + position."""
        places = torch.arange(ids.shape[1], device=ids.device)
        return self.token_embedding(ids) + self.position_embedding(places)


def end_of_text(
    ids: Int[Tensor, "batch length"], eos_token_id: int
) -> Int[Tensor, "batch"]:
    """Where each caption ends: at its first end-of-text token.

    `LARGEST` stands for the largest id of the caption, as in OpenAI's files,
    whose end of text is the last entry of the vocabulary.

    Raises `ValueError` for a caption without one: what is at its place 0
    would stand for it.
    """
    if eos_token_id == LARGEST:
        return ids.argmax(1)
    ends = ids == eos_token_id
    if seen(ids) and not ends.any(1).all():
        row = int((~ends.any(1)).int().argmax())
        raise ValueError(
            f"ids: got caption {row} without eos_token_id = {eos_token_id}, "
            "expected one in each"
        )
    return ends.int().argmax(1)


class TextModel(nn.Module):
    """Reads a caption from left to right; its end has read all of it."""

    def __init__(self, config: TextConfig):
        super().__init__()
        self.config, self.width = config, config.hidden_size
        self.embeddings = TextEmbeddings(config)
        self.encoder = Encoder(config)
        self.final_layer_norm = nn.LayerNorm(
            config.hidden_size, config.layer_norm_eps
        )

    def hidden(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length d_model"]:
        """A vector for each token, which has seen those before it.

        Padding behind the end needs no mask: nobody looks ahead.
        """
        check_length(
            "max_position_embeddings",
            self.config.max_position_embeddings,
            ids=ids,
        )
        check_within(0, self.config.vocab_size - 1, ids=ids)
        x = self.encoder(self.embeddings(ids), causal=True)
        return self.final_layer_norm(x)

    def forward(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch d_model"]:
        """The vector at the end of each caption."""
        x = self.hidden(ids)
        ends = end_of_text(ids, self.config.eos_token_id)
        return x[torch.arange(len(x), device=x.device), ends]


class VisionEmbeddings(nn.Module):
    """Patches as tokens, one token for the whole, and where each stands."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        width, side = config.hidden_size, config.patch_size
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.patch_embedding = nn.Conv2d(
            config.num_channels, width, side, stride=side, bias=False
        )
        self.position_embedding = nn.Embedding(config.patches + 1, width)

    def forward(
        self, images: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch length d_model"]:
        """Return the class token and the patches, row by row, + positions.

        Source: Dosovitskiy et al. 2020, eq. 1.
        """
        x = self.patch_embedding(images)
        x = rearrange(x, "batch w rows columns -> batch (rows columns) w")
        first = repeat(self.class_embedding, "w -> batch 1 w", batch=len(x))
        return torch.cat([first, x], dim=1) + self.position_embedding.weight


class VisionModel(nn.Module):
    """Looks at all patches at once; the class token collects."""

    def __init__(self, config: VisionConfig):
        super().__init__()
        self.config, self.width = config, config.hidden_size
        norm = config.hidden_size, config.layer_norm_eps
        self.embeddings = VisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(*norm)  # spelled as in the files
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(*norm)

    def forward(
        self, images: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch d_model"]:
        """The class token of each image, normalised.

        Raises `ValueError` for images of another size than the config's.
        """
        self.check_size(images)
        x = self.encoder(self.pre_layrnorm(self.embeddings(images)))
        return self.post_layernorm(x[:, 0])

    def check_size(self, images: Tensor) -> None:
        """Raise `ValueError` unless channels, rows and columns fit."""
        shape, side = self.config, self.config.image_size
        expected = shape.num_channels, side, side
        if tuple(images.shape[1:]) != expected:
            raise ValueError(
                f"images: got {tuple(images.shape[1:])}, expected channels, "
                f"rows and columns of {expected}"
            )
