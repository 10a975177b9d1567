"""How often attention goes to slow memory, by the paper's own programs.

    n, d   = N, d (sequence length, head_dim), one head
    memory = M (elements that fit into fast memory)

Source
- Dao et al. 2022, "FlashAttention", arXiv 2205.14135, algorithms 0 and 1,
  theorem 2.
"""

import math


def paper_standard(n: int, d: int) -> int:
    """Accesses of standard attention: 4N² + 4Nd.

    Q, K, V in and O out, and the matrix out and in, twice.

    Source: Dao et al. 2022, algorithm 0.
    """
    return 4 * n * n + 4 * n * d


def paper_flash(n: int, d: int, memory: int) -> int:
    """Accesses of FlashAttention-1: 2Nd + T_c(3Nd + 4N).

    K and V once; for each of the T_c key blocks Q in, O in and out, and m
    and ℓ in and out.

    Source: Dao et al. 2022, algorithm 1.
    """
    key_blocks = math.ceil(n / math.ceil(memory / (4 * d)))
    return 2 * n * d + key_blocks * (3 * n * d + 4 * n)
