"""FlashAttention, three times: `reference` (torch), `cpu`, `cuda` (numba)."""
