"""The KV cache: reading each token once, and what that costs in memory."""

from llmnotes.models.kv_cache.cache import (
    GrowingCache,
    KVCache,
    cache_bytes,
)
from llmnotes.models.kv_cache.counts import (
    DEEPSEEK_V2,
    DEEPSEEK_V2_AS_MHA,
    GPT_3,
    MISTRAL_7B,
    MIXTRAL_8X7B,
    OPT_13B,
    PALM_540B,
    Heads,
    Latent,
    bytes_per_token,
    heads_of,
    intensity,
    ridge,
    step_flops,
    step_traffic,
)
from llmnotes.models.kv_cache.generation import generate, stream
from llmnotes.models.kv_cache.packed import Lean
from llmnotes.models.kv_cache.paged import Pool, Request, Row, Server, serve
from llmnotes.models.kv_cache.speculative import (
    acceptance,
    expected_tokens,
    speculate,
)
