"""What a cache weighs, and what a step must move and compute.

    bytes_per_token = what one more token of a text costs in memory
    width     = bytes of a number; 2 for float16 and bfloat16
    new, past = tokens of each text that are read now, and were read before
    flops     = multiplications and additions in matrix products
    traffic   = bytes that a step must read: weights once, the cache whole
    intensity = flops / traffic
    ridge     = the intensity at which a chip's arithmetic becomes the limit

Sources
- Shazeer 2019, "Fast Transformer Decoding", arXiv 1911.02150, §2.4 (why
  decoding waits for memory), §3 (multi-query attention).
- Ainslie et al. 2023, "GQA", arXiv 2305.13245, §2.2.
- DeepSeek-AI 2024, "DeepSeek-V2", arXiv 2405.04434, §2.1 and table 1 (MLA).
- Williams, Waterman and Patterson 2009, "Roofline", CACM 52(4).
"""

from dataclasses import dataclass

from llmnotes.models.llama import LlamaConfig


@dataclass(frozen=True)
class Heads:
    """Layers that keep a key and a value for each of some heads."""

    layers: int
    kv_heads: int
    head_dim: int

    @property
    def kept(self) -> int:
        """Numbers that one token leaves in all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim


@dataclass(frozen=True)
class Latent:
    """DeepSeek's layers: one narrow vector for all heads, and one turned key.

    Keys and values are made from the latent vector when they are needed.
    RoPE cannot be, so its part of the key is kept beside it.

    Source: DeepSeek-AI 2024, §2.1.
    """

    layers: int
    latent: int
    turned: int

    @property
    def kept(self) -> int:
        """Numbers that one token leaves in all layers."""
        return self.layers * (self.latent + self.turned)


def heads_of(config: LlamaConfig) -> Heads:
    """What a Llama of this shape keeps."""
    return Heads(
        config.num_hidden_layers, config.num_key_value_heads, config.head_dim
    )


def bytes_per_token(kept: Heads | Latent, width: int = 2) -> int:
    """What one more token of a text costs in memory."""
    return kept.kept * width


GPT_3 = Heads(96, 96, 128)
OPT_13B = Heads(40, 40, 128)
PALM_540B = Heads(118, 1, 256)  # multi-query
MISTRAL_7B = MIXTRAL_8X7B = Heads(32, 8, 128)
DEEPSEEK_V2 = Latent(60, 512, 64)
DEEPSEEK_V2_AS_MHA = Heads(60, 128, 128)


def products(config: LlamaConfig) -> tuple[int, int]:
    """Entries of the matrices that every token meets, and of the head."""
    width, head = config.hidden_size, config.head_dim
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    attention = 2 * width * head * (heads + kv_heads)
    mlp = 3 * width * config.intermediate_size
    body = config.num_hidden_layers * (attention + mlp)
    return body, config.vocab_size * width


def step_flops(
    config: LlamaConfig, new: int, past: int = 0, batch: int = 1
) -> int:
    """Two for each entry and token, four for each pair and head dimension.

    Only the newest token of each text meets the head.
    """
    body, head = products(config)
    pairs = new * past + new * (new + 1) // 2
    wide = config.num_attention_heads * config.head_dim
    attention = 4 * config.num_hidden_layers * wide * pairs
    return batch * (2 * body * new + 2 * head + attention)


def step_traffic(
    config: LlamaConfig,
    new: int,
    past: int = 0,
    batch: int = 1,
    width: int = 2,
) -> int:
    """All weights once for the whole batch, each text's cache for itself.

    What passes between the layers is left out: it can stay on the chip.
    """
    cache = batch * (past + new) * heads_of(config).kept
    return width * (sum(products(config)) + cache)


def intensity(
    config: LlamaConfig,
    new: int,
    past: int = 0,
    batch: int = 1,
    width: int = 2,
) -> float:
    """Flops for each byte that must be read."""
    flops = step_flops(config, new, past, batch)
    return flops / step_traffic(config, new, past, batch, width)


def ridge(peak: float, bandwidth: float) -> float:
    """Flops per byte below which memory is the limit; in flops/s, bytes/s.

    Source: Williams et al. 2009.
    """
    return peak / bandwidth
