"""The shape of a Mistral: Llama's, and how far a token looks back.

    sliding_window = W: a token sees itself and the W-1 before it; None: all

Names and defaults are those of Hugging Face's config.json. A file that is
silent about the window means 4,096.

Sources
- Jiang et al. 2023, "Mistral 7B", arXiv 2310.06825, table 1.
- config.json of the checkpoints v0.1, v0.2 and v0.3 and of Nemo, for what
  the paper does not say.
"""

from dataclasses import dataclass, replace

from llmnotes.checks import check_sizes
from llmnotes.models.llama import LlamaConfig


@dataclass(frozen=True)
class MistralConfig(LlamaConfig):
    """A `LlamaConfig` with a window, and with Mistral's defaults.

    Raises `ValueError` that lists the fields that cannot be, among them a
    window of less than one token.
    """

    intermediate_size: int = 14336
    num_key_value_heads: int | None = 8
    max_position_embeddings: int = 131072
    sliding_window: int | None = 4096

    def check(self, name: str) -> None:
        """Raise `ValueError` if one field cannot be, whatever the others."""
        super().check(name)
        if name == "sliding_window" and self.sliding_window is not None:
            check_sizes(sliding_window=self.sliding_window)


MISTRAL_7B_V0_1 = MistralConfig(
    max_position_embeddings=32768, rms_norm_eps=1e-5
)
MISTRAL_7B_V0_2 = replace(MISTRAL_7B_V0_1, rope_theta=1e6, sliding_window=None)
MISTRAL_7B_V0_3 = replace(MISTRAL_7B_V0_2, vocab_size=32768)
MISTRAL_NEMO_12B = replace(
    MISTRAL_7B_V0_2,
    vocab_size=131072,
    hidden_size=5120,
    num_hidden_layers=40,
    head_dim=128,
    max_position_embeddings=131072,
)
# Characters of tiny Shakespeare, read a quarter of a block at a time.
LAPTOP = MistralConfig(
    vocab_size=65,
    hidden_size=128,
    intermediate_size=344,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    rms_norm_eps=1e-5,
    sliding_window=16,
)
