"""The chapter's CUDA kernels, compiled for argument types, without a GPU.

dtype   = "f2" or "f4", what query, key, value and output are stored in
threads = threads of a block
"""

import dataclasses

from llmnotes.cuda import machine_code
from llmnotes.cuda.launch import compile_ptx
from llmnotes.kernels.flash_attention_cuda.tiling import (
    backward_tiling,
    forward_tiling,
)


@dataclasses.dataclass(frozen=True)
class Build:
    """A kernel as PTX and the number of threads it is launched with."""

    ptx: str
    threads: int

    def machine(self, architecture: str) -> machine_code.Machine:
        """The linked kernel for one architecture."""
        return machine_code.link(self.ptx, architecture)

    @property
    def shared(self) -> int:
        """Bytes of shared memory of a block."""
        return machine_code.shared_bytes(self.ptx)

    def occupancy(self, architecture: str) -> tuple[int, float, str]:
        """Resident blocks, share of the warps, limiting resource."""
        return machine_code.occupancy(
            machine_code.CHIPS[architecture],
            self.machine(architecture).registers,
            self.shared,
            self.threads,
        )


def naive_builds(dtype: str = "f2") -> dict[str, Build]:
    """The three kernels of the baseline, by name."""
    from llmnotes.kernels.flash_attention_cuda import naive

    x = f"{dtype}[:::]"
    return {
        "naive scores": Build(
            compile_ptx(naive.naive_scores, f"{x}, {x}, f4[:::], f4, b1"), 256
        ),
        "naive softmax": Build(
            compile_ptx(naive.naive_softmax, "f4[:::]"), 64
        ),
        "naive values": Build(
            compile_ptx(naive.naive_values, f"f4[:::], {x}, {x}, b1"), 256
        ),
    }


def forward_build(head_dim: int, dtype: str = "f2") -> Build:
    """The flash forward, with the tiles that the public function takes."""
    from llmnotes.kernels.flash_attention_cuda import kernels

    tiling, x = forward_tiling(head_dim), f"{dtype}[:::]"
    signature = f"{x}, {x}, {x}, {x}, f4[::], f4, b1"
    return Build(
        compile_ptx(kernels.flash_forward(tiling), signature),
        tiling.side**2,
    )


def backward_builds(head_dim: int, dtype: str = "f2") -> dict[str, Build]:
    """The three kernels of the flash backward, by name."""
    from llmnotes.kernels.flash_attention_cuda import backward

    tiling, x = backward_tiling(head_dim), f"{dtype}[:::]"
    inputs, threads = f"{x}, {x}, {x}, {x}, f4[:::]", tiling.side**2
    rows = compile_ptx(backward.row_statistics, f"{x}, {x}, f4[::], f4[:::]")
    key = compile_ptx(
        backward.flash_backward_key(tiling), f"{inputs}, {x}, {x}, f4, b1"
    )
    query = compile_ptx(
        backward.flash_backward_query(tiling), f"{inputs}, {x}, f4, b1"
    )
    return {
        "flash row sums": Build(rows, 128),
        "flash dK, dV": Build(key, threads),
        "flash dQ": Build(query, threads),
    }
