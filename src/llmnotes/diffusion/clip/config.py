"""The shapes of CLIP's two towers, and the models published in them.

Names and defaults are those of Hugging Face's config.json, since a file that
is silent about a field means them.

    hidden_size    = d_model of a tower, intermediate_size = 4 · d_model
    projection_dim = d_e, width of the space in which both towers meet
    patch_size     = side of a square of pixels that becomes one token
    logit_scale_init_value = ln(1/τ) at the start, with τ = 0.07
    eos_token_id   = the token whose vector stands for the whole caption

Sources
- Radford et al. 2021, "Learning Transferable Visual Models From Natural
  Language Supervision", arXiv 2103.00020, table 20 (the ViTs).
- `transformers` 5: `CLIPTextConfig`, `CLIPVisionConfig`, `CLIPConfig`.
"""

from dataclasses import dataclass, field, replace

from llmnotes.checks import check_divides, check_sizes

ACTIVATIONS = "quick_gelu", "gelu"
LARGEST = 2  # an eos_token_id that OpenAI's files give: the largest id is it


@dataclass(frozen=True)
class TowerConfig:
    """What both towers are: a transformer of some shape.

    Raises `ValueError` naming the field that cannot be.
    """

    hidden_size: int = 512
    intermediate_size: int = 2048
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5

    def __post_init__(self):
        check_sizes(
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.num_hidden_layers,
        )
        heads = self.num_attention_heads
        check_divides(
            "hidden_size", self.hidden_size, num_attention_heads=heads
        )
        self.check_numbers()

    def check_numbers(self) -> None:
        """Raise `ValueError` for what is no count and cannot be."""
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"hidden_act: got {self.hidden_act!r}, expected one of "
                f"{', '.join(ACTIVATIONS)}"
            )
        if not self.layer_norm_eps > 0:
            raise ValueError(
                f"layer_norm_eps: got {self.layer_norm_eps}, expected more "
                "than 0"
            )


@dataclass(frozen=True)
class TextConfig(TowerConfig):
    """The tower that reads captions.

    Raises `ValueError` naming the field that cannot be.
    """

    vocab_size: int = 49408
    max_position_embeddings: int = 77
    eos_token_id: int = 49407

    def __post_init__(self):
        super().__post_init__()
        length = self.max_position_embeddings
        check_sizes(max_position_embeddings=length)
        check_sizes(0, eos_token_id=self.eos_token_id)
        known = self.vocab_size > self.eos_token_id
        if not known and self.eos_token_id != LARGEST:
            raise ValueError(
                f"eos_token_id: got {self.eos_token_id}, expected less than "
                f"vocab_size = {self.vocab_size}"
            )
        check_sizes(vocab_size=self.vocab_size)


@dataclass(frozen=True)
class VisionConfig(TowerConfig):
    """The tower that looks at images, cut into patches.

    Raises `ValueError` naming the field that cannot be.
    """

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 32

    def __post_init__(self):
        super().__post_init__()
        check_sizes(num_channels=self.num_channels, image_size=self.image_size)
        check_divides(
            "image_size", self.image_size, patch_size=self.patch_size
        )

    @property
    def patches(self) -> int:
        """How many tokens an image becomes, without the class token."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class CLIPConfig:
    """Two towers and the space in which they meet.

    Raises `ValueError` naming the field that cannot be.
    """

    text_config: TextConfig = field(default_factory=TextConfig)
    vision_config: VisionConfig = field(default_factory=VisionConfig)
    projection_dim: int = 512
    logit_scale_init_value: float = 2.6592

    def __post_init__(self):
        check_sizes(projection_dim=self.projection_dim)


VIT_B_32 = CLIPConfig()
VIT_B_16 = replace(VIT_B_32, vision_config=VisionConfig(patch_size=16))
VIT_L_14 = CLIPConfig(
    TextConfig(
        hidden_size=768, intermediate_size=3072, num_attention_heads=12
    ),
    VisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        patch_size=14,
    ),
    projection_dim=768,
)
VIT_L_14_336 = replace(
    VIT_L_14, vision_config=replace(VIT_L_14.vision_config, image_size=336)
)
