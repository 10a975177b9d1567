"""The KV cache: reading each token once, and what that costs in memory."""

from llmnotes.models.kv_cache.cache import (
    GrowingCache,
    KVCache,
    cache_bytes,
)
from llmnotes.models.kv_cache.generation import generate, stream
