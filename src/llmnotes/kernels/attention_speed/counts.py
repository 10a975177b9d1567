"""What the answer costs, whoever computes it: operations, bytes, the roof.

    pairs     = (query, key) pairs that may see each other
    flops     = multiplications and additions in matrix products
    traffic   = bytes that must cross between memory and chip
    intensity = flops / traffic
    roof      = the most flops per second that an intensity allows

Sources
- Dao et al. 2022, "FlashAttention", arXiv 2205.14135, algorithms 0 and 3.
- Williams, Waterman & Patterson 2009, "Roofline", CACM 52(4).
"""


def pairs(query: int, key: int, causal: bool) -> int:
    """Count the (query, key) pairs of one head that may see each other."""
    if not causal:
        return query * key
    square = min(query, key)  # the last sees all keys, each before it one less
    return square * (square + 1) // 2 + square * (key - square)


def forward_flops(query: int, key: int, head_dim: int, causal: bool) -> int:
    """Count one head's: a score and its share of PV, 2·head_dim each."""
    return 4 * head_dim * pairs(query, key, causal)


def backward_flops(query: int, key: int, head_dim: int, causal: bool) -> int:
    """Count one head's four products: dV, dP, dQ and dK.

    What a method computes again to save memory is its own affair: more
    work for the same answer is not more speed.
    """
    return 8 * head_dim * pairs(query, key, causal)


def fused_forward_traffic(query: int, key: int, head_dim: int) -> int:
    """Count one head's numbers read (Q, K, V) and written (O)."""
    return 2 * (query + key) * head_dim


def fused_backward_traffic(query: int, key: int, head_dim: int) -> int:
    """Count one head's Q, K, V, O, dO in and dQ, dK, dV out."""
    return 4 * (query + key) * head_dim


def unfused_forward_traffic(query: int, key: int, head_dim: int) -> int:
    """Add S and P, each written once and read once.

    Causal or not: a program of whole-matrix steps forms the whole matrix.

    Source: Dao et al. 2022, algorithm 0.
    """
    return fused_forward_traffic(query, key, head_dim) + 4 * query * key


def unfused_backward_traffic(query: int, key: int, head_dim: int) -> int:
    """Add P read twice, dP and dS written, dP once and dS twice read.

    Source: Dao et al. 2022.
    """
    return fused_backward_traffic(query, key, head_dim) + 7 * query * key


def roof(intensity: float, peak: float, bandwidth: float) -> float:
    """Return the flops per second that no program can exceed.

    `intensity` is in flops per byte, `peak` in flops/s, `bandwidth` in
    bytes/s. Left of peak/bandwidth memory is the limit, right of it the
    arithmetic.

    Source: Williams et al. 2009.
    """
    return min(peak, intensity * bandwidth)
