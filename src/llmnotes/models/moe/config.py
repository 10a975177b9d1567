"""The shapes of Mixtral and its relatives, and the models published in them.

Names and defaults are those of Hugging Face's config.json, as in Llama's.

    num_local_experts    = N, experts in each layer
    num_experts_per_tok  = k, how many of them read a token
    intermediate_size    = d_ff of one expert
    router_aux_loss_coef = what the balancing loss counts in training, in
                           their measure: see `balance.Balanced`

Sources
- Jiang et al. 2024, "Mixtral of Experts", arXiv 2401.04088, table 1.
- Fedus, Zoph and Shazeer 2021, "Switch Transformers", arXiv 2101.03961.
- Dai et al. 2024, "DeepSeekMoE", arXiv 2401.06066, §3.
- config.json of the checkpoints, for what the papers do not say.
"""

from dataclasses import dataclass, replace

from llmnotes.checks import check_sizes
from llmnotes.models.llama import LlamaConfig

COUNTS = "num_local_experts", "num_experts_per_tok"


@dataclass(frozen=True)
class MixtralConfig(LlamaConfig):
    """The shape of a Mixtral: a Llama's, and how many experts there are.

    Raises `ValueError` that lists the fields that cannot be, such as more
    experts for a token than there are.
    """

    vocab_size: int = 32000
    intermediate_size: int = 14336
    num_key_value_heads: int | None = 8
    max_position_embeddings: int = 131072
    rms_norm_eps: float = 1e-5
    rope_theta: float = 1e6
    num_local_experts: int = 8
    num_experts_per_tok: int = 2
    router_aux_loss_coef: float = 0.001

    def check(self, name: str) -> None:
        """Raise `ValueError` if one field cannot be."""
        super().check(name)
        if name in COUNTS:
            check_sizes(**{name: getattr(self, name)})
        if name == "num_experts_per_tok":
            check_chosen(name, self.num_experts_per_tok, self)
        if (
            name == "router_aux_loss_coef"
            and not self.router_aux_loss_coef >= 0
        ):
            raise ValueError(
                f"{name}: got {self.router_aux_loss_coef}, expected at least 0"
            )


def check_chosen(name: str, chosen: int, config: MixtralConfig) -> None:
    """Raise `ValueError` for more experts than a layer has."""
    if chosen > config.num_local_experts:
        raise ValueError(
            f"{name}: got {chosen}, expected at most num_local_experts = "
            f"{config.num_local_experts}"
        )


@dataclass(frozen=True)
class SwitchConfig(MixtralConfig):
    """One expert for each token, and room for so many more than the mean.

    `capacity_factor` is what an expert has room for, in even shares.

    Source: Fedus et al. 2021, §2.2.
    """

    num_experts_per_tok: int = 1
    capacity_factor: float = 1.25

    def check(self, name: str) -> None:
        """Raise `ValueError` if one field cannot be."""
        super().check(name)
        if name == "capacity_factor" and not self.capacity_factor > 0:
            raise ValueError(
                f"{name}: got {self.capacity_factor}, expected more than 0"
            )


@dataclass(frozen=True)
class DeepSeekConfig(MixtralConfig):
    """Many narrow experts, and some more that read every token.

    Source: Dai et al. 2024, §3.
    """

    num_local_experts: int = 64
    num_experts_per_tok: int = 6
    n_shared_experts: int = 2

    def check(self, name: str) -> None:
        """Raise `ValueError` if one field cannot be."""
        super().check(name)
        if name == "n_shared_experts":
            check_sizes(n_shared_experts=self.n_shared_experts)


MIXTRAL_8X7B = MixtralConfig(max_position_embeddings=32768)
MIXTRAL_8X22B = replace(
    MIXTRAL_8X7B,
    hidden_size=6144,
    intermediate_size=16384,
    num_hidden_layers=56,
    num_attention_heads=48,
    head_dim=128,
    max_position_embeddings=65536,
)
# Characters of tiny Shakespeare. Two experts are as wide as the MLP of
# Llama's LAPTOP, so that a token costs the same.
LAPTOP = MixtralConfig(
    vocab_size=65,
    hidden_size=128,
    intermediate_size=172,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    rope_theta=10000.0,
    router_aux_loss_coef=0.02,
)
