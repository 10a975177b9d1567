"""The shapes of Phi, and the models that were published in them.

Names are those of Hugging Face's config.json, and so are the defaults, since
a file that is silent about a field means them. One name is Llama's: what a
LayerNorm adds under its root is `rms_norm_eps` here, `layer_norm_eps` there.

    rotary_dim = r, how many of a head's numbers are turned:
                 head_dim · partial_rotary_factor

Sources
- Gunasekar et al. 2023, "Textbooks Are All You Need" (phi-1), arXiv
  2306.11644, §2.3.
- Li et al. 2023, "Textbooks Are All You Need II" (phi-1.5), arXiv
  2309.05463, §2.1.
- Abdin et al. 2024, "Phi-3 Technical Report", arXiv 2404.14219, §2.
- config.json of the checkpoints, for what the papers do not say.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import check_sizes
from llmnotes.models.llama import LlamaConfig
from llmnotes.transformer.positions import check_even, frequencies


@dataclass(frozen=True)
class PartlyTurnedConfig(LlamaConfig):
    """The shape of a Llama that turns a part of each head only.

    Raises `ValueError` that lists the fields that cannot be; RoPE is never
    scaled here.
    """

    partial_rotary_factor: float = 1.0

    @property
    def rotary_dim(self) -> int:
        """How many numbers of a query and of a key are turned."""
        return int(self.head_dim * self.partial_rotary_factor)

    def check(self, name: str) -> None:
        """Raise `ValueError` if one field cannot be, whatever the others."""
        value = getattr(self, name)
        if name == "partial_rotary_factor" and not 0 < value <= 1:
            raise ValueError(f"{name}: got {value}, expected 0 < it <= 1")
        if name == "rope_scaling" and value is not None:
            raise ValueError(f"{name}: got {value}, expected None")
        super().check(name)

    def check_heads(self) -> None:
        """Raise `ValueError` for heads that cannot be shared or turned."""
        super().check_heads()
        check_even("head_dim * partial_rotary_factor", self.rotary_dim)

    def frequencies(self) -> Float[Tensor, "half"]:
        """θ_i of the numbers that are turned, as if there were no others."""
        return frequencies(self.rotary_dim, self.rope_theta)


@dataclass(frozen=True)
class PhiConfig(PartlyTurnedConfig):
    """The shape of phi-1, 1.5 and 2. The head is never tied."""

    vocab_size: int = 51200
    hidden_size: int = 2048
    intermediate_size: int = 8192
    num_hidden_layers: int = 24
    rms_norm_eps: float = 1e-5
    partial_rotary_factor: float = 0.5
    resid_pdrop: float = 0.0  # dropout of what is added to the stream

    def check(self, name: str) -> None:
        """Raise `ValueError` if one field cannot be, whatever the others."""
        value = getattr(self, name)
        if name == "resid_pdrop" and not 0 <= value < 1:
            raise ValueError(f"{name}: got {value}, expected 0 <= it < 1")
        if name == "tie_word_embeddings" and value:
            raise ValueError(f"{name}: got {value}, expected False")
        super().check(name)


@dataclass(frozen=True)
class Phi3Config(PartlyTurnedConfig):
    """The shape of Phi-3 and Phi-4: a Llama with a window.

    A token sees the last `sliding_window` ones, itself among them; None: all.
    """

    vocab_size: int = 32064
    hidden_size: int = 3072
    intermediate_size: int = 8192
    max_position_embeddings: int = 4096
    rms_norm_eps: float = 1e-5
    sliding_window: int | None = None

    def check(self, name: str) -> None:
        """Raise `ValueError` if one field cannot be, whatever the others."""
        if name == "sliding_window" and self.sliding_window is not None:
            check_sizes(sliding_window=self.sliding_window)
        super().check(name)


PHI_1 = PHI_1_5 = PhiConfig()
PHI_2 = PhiConfig(
    hidden_size=2560,
    intermediate_size=10240,
    num_hidden_layers=32,
    partial_rotary_factor=0.4,
    resid_pdrop=0.1,
)
PHI_3_MINI = Phi3Config(sliding_window=2047)
PHI_3_MEDIUM = Phi3Config(
    hidden_size=5120,
    intermediate_size=17920,
    num_hidden_layers=40,
    num_attention_heads=40,
    num_key_value_heads=10,
    sliding_window=2047,
)
PHI_4 = Phi3Config(
    vocab_size=100352,
    hidden_size=5120,
    intermediate_size=17920,
    num_hidden_layers=40,
    num_attention_heads=40,
    num_key_value_heads=10,
    max_position_embeddings=16384,
    rope_theta=250000.0,
)
# Characters of tiny Shakespeare: 65 symbols.
LAPTOP = PhiConfig(
    vocab_size=65,
    hidden_size=128,
    intermediate_size=512,
    num_hidden_layers=4,
    num_attention_heads=4,
    max_position_embeddings=64,
)
