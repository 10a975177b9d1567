"""FlashAttention, twice: `reference` in plain torch, `cpu` in numba."""
