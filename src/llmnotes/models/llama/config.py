"""The shapes of Llama, and the models that were published in them.

Names are those of Hugging Face's config.json, and so are the defaults, since
a file that is silent about a field means them.

    swiglu_width = d_ff of SwiGLU for the parameters of an MLP that is
                   `times` as wide: two thirds of it, rounded up

Sources
- Touvron et al. 2023, "LLaMA", arXiv 2302.13971, table 2.
- Touvron et al. 2023, "Llama 2", arXiv 2307.09288, table 1 and A.2.1.
- Grattafiori et al. 2024, "The Llama 3 Herd of Models", arXiv 2407.21783,
  table 3.
- config.json of the checkpoints, for what the papers do not say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial

from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import check_divides, check_sizes
from llmnotes.transformer.positions import check_even, frequencies
from llmnotes.transformer.rope import llama3

COUNTS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "head_dim",
)
ABOVE = {"rms_norm_eps": 0, "rope_theta": 1}


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3.1's way to read on: the numbers of `rope.llama3`."""

    factor: float
    original_max_position_embeddings: int
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0


@dataclass(frozen=True)
class LlamaConfig:
    """The shape of a Llama, under the names of Hugging Face's config.

    `num_key_value_heads` is by default as many as there are heads, and
    `head_dim` hidden_size over them. `rope_scaling` may be given as the
    dictionary that a config.json holds.

    Raises `ValueError` that lists the fields that cannot be.
    """

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | Mapping | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self):
        self.fill_in()
        check_all(*(partial(self.check, field.name) for field in fields(self)))
        self.check_heads()
        self.frequencies()

    def fill_in(self) -> None:
        """What follows from the other numbers, as far as they allow it."""
        heads, width = self.num_attention_heads, self.hidden_size
        if self.num_key_value_heads is None:
            object.__setattr__(self, "num_key_value_heads", heads)
        if self.head_dim is None and heads and not width % heads:
            object.__setattr__(self, "head_dim", width // heads)

    def check(self, name: str) -> None:
        """Raise `ValueError` if one field cannot be, whatever the others."""
        value = getattr(self, name)
        if name == "head_dim" and value is None:
            heads = self.num_attention_heads
            check_divides(
                "hidden_size", self.hidden_size, num_attention_heads=heads
            )
        elif name in COUNTS:
            check_sizes(**{name: value})
        elif name == "rope_scaling" and isinstance(value, Mapping):
            object.__setattr__(self, name, scaling(value))
        elif name in ABOVE and not value > ABOVE[name]:
            raise ValueError(
                f"{name}: got {value}, expected more than {ABOVE[name]}"
            )

    def check_heads(self) -> None:
        """Raise `ValueError` for heads that cannot be shared or turned."""
        heads, kv = self.num_attention_heads, self.num_key_value_heads
        check_divides("num_attention_heads", heads, num_key_value_heads=kv)
        check_even("head_dim", self.head_dim)

    def frequencies(self) -> Float[Tensor, "half"]:
        """θ_i of RoPE, scaled if the config says so."""
        long = self.rope_scaling
        if long is None:
            return frequencies(self.head_dim, self.rope_theta)
        return llama3(
            self.head_dim,
            long.factor,
            long.original_max_position_embeddings,
            self.rope_theta,
            slow=long.low_freq_factor,
            fast=long.high_freq_factor,
        )


def check_all(*checks: Callable[[], object]) -> None:
    """Raise one `ValueError` that says what each of the checks says."""
    wrong = []
    for check in checks:
        try:
            check()
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(dict.fromkeys(wrong)))


def scaling(given: Mapping) -> RopeScaling | None:
    """Read the dictionary `rope_scaling`; None for the plain RoPE.

    Raises `ValueError` for another kind of scaling and for missing numbers.
    """
    given = dict(given)
    kind = given.pop("rope_type", given.pop("type", "llama3"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise ValueError(
            f"rope_scaling: got rope_type {kind!r}, expected 'llama3' or "
            "'default'"
        )
    names = {field.name for field in fields(RopeScaling)}
    needed = {"factor", "original_max_position_embeddings"}
    if not needed <= given.keys() <= names:
        raise ValueError(
            f"rope_scaling: got {', '.join(given)}, expected "
            f"{', '.join(sorted(names))}"
        )
    return RopeScaling(**given)


def swiglu_width(
    d_model: int, *, times: float = 4, more: float = 1, multiple: int = 256
) -> int:
    """d_ff of Llama's SwiGLU: ⅔·times·d_model·more, rounded up to `multiple`.

    `more` is Meta's ffn_dim_multiplier, `multiple` their multiple_of.
    """
    inner = int(more * int(2 * times * d_model / 3))
    return -(-inner // multiple) * multiple


LLAMA_1_7B = LlamaConfig()
LLAMA_1_13B = LlamaConfig(
    hidden_size=5120,
    intermediate_size=13824,
    num_hidden_layers=40,
    num_attention_heads=40,
)
LLAMA_1_33B = LlamaConfig(
    hidden_size=6656,
    intermediate_size=17920,
    num_hidden_layers=60,
    num_attention_heads=52,
)
LLAMA_1_65B = LlamaConfig(
    hidden_size=8192,
    intermediate_size=22016,
    num_hidden_layers=80,
    num_attention_heads=64,
    rms_norm_eps=1e-5,
)
LONGER = dict(max_position_embeddings=4096, rms_norm_eps=1e-5)
LLAMA_2_7B = replace(LLAMA_1_7B, **LONGER)
LLAMA_2_13B = replace(LLAMA_1_13B, **LONGER)
LLAMA_2_70B = replace(
    LLAMA_1_65B, **LONGER, intermediate_size=28672, num_key_value_heads=8
)
LLAMA_3_8B = LlamaConfig(
    vocab_size=128256,
    intermediate_size=14336,
    num_key_value_heads=8,
    max_position_embeddings=8192,
    rms_norm_eps=1e-5,
    rope_theta=500000.0,
)
LLAMA_3_70B = replace(
    LLAMA_3_8B,
    hidden_size=8192,
    intermediate_size=28672,
    num_hidden_layers=80,
    num_attention_heads=64,
    head_dim=128,
)
LLAMA_3_1_405B = replace(
    LLAMA_3_8B,
    hidden_size=16384,
    intermediate_size=53248,
    num_hidden_layers=126,
    num_attention_heads=128,
    head_dim=128,
    max_position_embeddings=131072,
    rope_scaling=RopeScaling(8.0, 8192),
)
LLAMA_3_2_1B = replace(
    LLAMA_3_8B,
    hidden_size=2048,
    intermediate_size=8192,
    num_hidden_layers=16,
    head_dim=64,
    max_position_embeddings=131072,
    rope_scaling=RopeScaling(32.0, 8192),
    tie_word_embeddings=True,
)
LLAMA_3_2_3B = replace(
    LLAMA_3_2_1B,
    hidden_size=3072,
    num_hidden_layers=28,
    num_attention_heads=24,
    head_dim=128,
)
# Characters of tiny Shakespeare: 65 symbols.
LAPTOP = LlamaConfig(
    vocab_size=65,
    hidden_size=128,
    intermediate_size=344,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    rms_norm_eps=1e-5,
)
