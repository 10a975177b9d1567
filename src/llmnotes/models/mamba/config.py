"""The shapes of Mamba and Mamba-2, and the models that were published.

Names are those of Hugging Face's config.json, and so are the defaults, since
a file that is silent about a field means them.

    inner          = width of a block's middle: expand · hidden_size
    state_size     = numbers that a channel keeps
    conv_kernel    = tokens that the convolution sees, its own among them
    time_step_rank = width from which Δ of all channels is made
    time_step_min … max = where Δ starts, drawn evenly over its logarithm
    time_step_limit     = what Δ is cut to, in Mamba-2

Sources
- Gu and Dao 2023, "Mamba", arXiv 2312.00752, §3.4, §3.6, table 12.
- Dao and Gu 2024, "Transformers are SSMs", arXiv 2405.21060, §7.
- config.json of state-spaces/mamba-…-hf, for what the papers do not say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

from llmnotes.checks import check_divides, check_sizes
from llmnotes.models.llama.config import check_all

COUNTS = (
    "vocab_size",
    "hidden_size",
    "state_size",
    "num_hidden_layers",
    "expand",
    "conv_kernel",
    "time_step_rank",
    "num_heads",
    "head_dim",
    "n_groups",
    "chunk_size",
)
POSITIVE = "layer_norm_epsilon", "time_step_min", "time_step_floor"


@dataclass(frozen=True)
class AnyMambaConfig:
    """What both have, with Mamba's defaults.

    Raises `ValueError` that lists the fields that cannot be.
    """

    vocab_size: int = 50280
    hidden_size: int = 768
    state_size: int = 16
    num_hidden_layers: int = 32
    expand: int = 2
    conv_kernel: int = 4
    layer_norm_epsilon: float = 1e-5
    use_bias: bool = False
    use_conv_bias: bool = True
    time_step_min: float = 0.001
    time_step_max: float = 0.1
    time_step_floor: float = 1e-4
    tie_word_embeddings: bool = True

    def __post_init__(self):
        check_all(*(partial(self.check, field.name) for field in fields(self)))

    def check(self, name: str) -> None:
        """Raise `ValueError` if one field cannot be."""
        value = getattr(self, name)
        if name in COUNTS:
            check_sizes(**{name: value})
        elif name in POSITIVE and not value > 0:
            raise ValueError(f"{name}: got {value}, expected more than 0")
        elif name == "time_step_max" and not value >= self.time_step_min:
            raise ValueError(
                f"time_step_max: got {value}, expected at least "
                f"time_step_min = {self.time_step_min}"
            )

    @property
    def inner(self) -> int:
        """Channels in the middle of a block."""
        return self.expand * self.hidden_size


@dataclass(frozen=True)
class MambaConfig(AnyMambaConfig):
    """The shape of a Mamba; its `time_step_rank` may be left to the width."""

    time_step_rank: int | str = "auto"

    def __post_init__(self):
        if self.time_step_rank == "auto":
            rank = math.ceil(self.hidden_size / 16)
            object.__setattr__(self, "time_step_rank", rank)
        super().__post_init__()


@dataclass(frozen=True)
class Mamba2Config(AnyMambaConfig):
    """The shape of a Mamba-2."""

    vocab_size: int = 32768
    hidden_size: int = 4096
    state_size: int = 128
    num_hidden_layers: int = 64
    tie_word_embeddings: bool = False
    num_heads: int = 128
    head_dim: int = 64
    n_groups: int = 8
    chunk_size: int = 256
    time_step_limit: Sequence[float] = (0.0, math.inf)

    def __post_init__(self):
        limit = tuple(self.time_step_limit)
        object.__setattr__(self, "time_step_limit", limit)
        super().__post_init__()
        self.check_heads()
        numbers = all(isinstance(x, int | float) for x in limit)
        if not (numbers and len(limit) == 2 and 0 <= limit[0] <= limit[1]):
            raise ValueError(
                f"time_step_limit: got {limit}, expected two numbers, "
                "0 <= low <= high"
            )

    def check_heads(self) -> None:
        """Raise `ValueError` unless heads fill the width and share groups."""
        if self.num_heads * self.head_dim != self.inner:
            raise ValueError(
                f"num_heads * head_dim: got {self.num_heads * self.head_dim}, "
                f"expected expand * hidden_size = {self.inner}"
            )
        check_divides("num_heads", self.num_heads, n_groups=self.n_groups)


MAMBA_130M = MambaConfig(num_hidden_layers=24)
MAMBA_370M = MambaConfig(hidden_size=1024, num_hidden_layers=48)
MAMBA_790M = replace(MAMBA_370M, hidden_size=1536, time_step_rank="auto")
MAMBA_1_4B = replace(MAMBA_370M, hidden_size=2048, time_step_rank="auto")
MAMBA_2_8B = MambaConfig(hidden_size=2560, num_hidden_layers=64)
