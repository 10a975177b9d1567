"""How large the tiles of a CUDA kernel are, and whether they fit on a chip.

    head_dim         = d
    block_q, block_k = B_r, B_c (queries and keys per tile)
    side             = threads along each edge of a thread block

Rows in shared memory are one column wider than their data, so that
neighbouring rows start in different banks.
"""

import dataclasses

MAX_HEAD_DIM = 128
# What a kernel may use without asking the driver for more, on every GPU.
SHARED_LIMIT = 48 * 1024
BLOCKS = ((64, 64), (64, 32), (32, 32), (32, 16), (16, 16))


@dataclasses.dataclass(frozen=True)
class Tiling:
    """The compile-time constants of a kernel; hashable, so compiled once."""

    head_dim: int
    block_q: int
    block_k: int
    side: int = 16

    def __post_init__(self):
        """Raise `ValueError` for sizes that no kernel is made for."""
        if not 1 <= self.head_dim <= MAX_HEAD_DIM:
            raise ValueError(
                f"head_dim: got {self.head_dim}, expected 1 to {MAX_HEAD_DIM}"
            )
        for name in ("block_q", "block_k"):
            block = getattr(self, name)
            if block < 1 or block % self.side:
                raise ValueError(
                    f"{name}: got {block}, expected a multiple of "
                    f"{self.side}, the threads along a side"
                )
        if self.block_q > self.side**2:  # the softmax has a thread per row
            raise ValueError(
                f"block_q: got {self.block_q}, expected at most "
                f"{self.side**2}, the threads of a block"
            )

    @property
    def width(self) -> int:
        """Columns of a row in shared memory: head_dim rounded up to side."""
        return -(-self.head_dim // self.side) * self.side

    @property
    def q_tile(self) -> tuple[int, int]:
        """Shape of a tile of query rows."""
        return self.block_q, self.width + 1

    @property
    def k_tile(self) -> tuple[int, int]:
        """Shape of a tile of key rows."""
        return self.block_k, self.width + 1

    @property
    def p_tile(self) -> tuple[int, int]:
        """Shape of a tile of scores or weights."""
        return self.block_q, self.block_k + 1

    @property
    def r_tile(self) -> tuple[int, int]:
        """Shape of a tile of row statistics: L and D."""
        return self.block_q, 3

    @property
    def q_cells(self) -> tuple[int, int]:
        """What one thread owns of a query tile."""
        return self.block_q // self.side, self.width // self.side

    @property
    def k_cells(self) -> tuple[int, int]:
        """What one thread owns of a key tile."""
        return self.block_k // self.side, self.width // self.side

    @property
    def p_cells(self) -> tuple[int, int]:
        """What one thread owns of a tile of scores."""
        return self.block_q // self.side, self.block_k // self.side

    @property
    def forward_shared(self) -> int:
        """Bytes of shared memory: Q, K, V, P tiles and a factor per row."""
        rows = self.block_q + 2 * self.block_k
        cells = self.block_q * (self.block_k + 1) + self.block_q
        return 4 * (rows * (self.width + 1) + cells)

    @property
    def backward_shared(self) -> int:
        """Bytes: Q, K, V, dO, P, dS tiles, L and D per row."""
        rows = 2 * self.block_q + 2 * self.block_k
        cells = 2 * self.block_q * (self.block_k + 1) + 3 * self.block_q
        return 4 * (rows * (self.width + 1) + cells)


def forward_tiling(head_dim: int) -> Tiling:
    """The largest tiles whose forward fits into shared memory."""
    return _largest(head_dim, "forward_shared")


def backward_tiling(head_dim: int) -> Tiling:
    """The largest tiles whose backward fits into shared memory."""
    return _largest(head_dim, "backward_shared")


def _largest(head_dim: int, need: str) -> Tiling:
    candidates = (Tiling(head_dim, *blocks) for blocks in BLOCKS)
    return next(t for t in candidates if getattr(t, need) <= SHARED_LIMIT)
