"""Where a convolution by Fourier transforms is quicker than the sum.

FFT       = ours: zeros up to a power of 2, here 2L places
tight FFT = 2L - 1 places, as few as are enough; a prime at 4,096
conv1d    = the sum as PyTorch's depthwise convolution
product   = the sum as a product with a matrix that was made before
"""

import statistics

import jaxtyping
import pytest
import torch

from llmnotes.models.s4 import (
    convolve,
    convolve_direct,
    direct_flops,
    fft_flops,
)

SEED, BATCH, WIDTH, THREADS = 0, 2, 8, 2
LENGTHS = 64, 128, 256, 512, 1024, 2048, 4096, 16384


@pytest.fixture(autouse=True)
def fair_ground():
    """As many threads for all, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


def product(matrix, x):
    """The sum as one product with the kernel's Toeplitz matrix."""
    return torch.einsum("wts,bws->bwt", matrix, x)


def tight(x, kernel):
    """By transforms of 2L - 1 places: as few as are enough."""
    length = x.shape[-1]
    places = 2 * length - 1
    both = torch.fft.rfft(x, places) * torch.fft.rfft(kernel, places)
    return torch.fft.irfft(both, places)[..., :length]


def toeplitz(kernel):
    """Row t holds K_t … K_0, and zeros behind."""
    length = kernel.shape[-1]
    places = torch.arange(length)
    lag = places[:, None] - places
    return kernel[:, lag.clamp(min=0)] * (lag >= 0)


@pytest.mark.timing
def bench_direct_and_transformed(record, race):
    torch.manual_seed(SEED)
    ways = {}  # `race` warms each up twice and lets them take turns
    for length in LENGTHS:
        x = torch.randn(BATCH, WIDTH, length)
        kernel = torch.randn(WIDTH, length)
        ways["FFT", length] = lambda x=x, k=kernel: convolve(x, k)
        ways["conv1d", length] = lambda x=x, k=kernel: convolve_direct(x, k)
        if length <= 2048:  # the matrices of 16,384 have 8 GB
            matrix = toeplitz(kernel)
            ways["product", length] = lambda x=x, m=matrix: product(m, x)
        ways["tight FFT", length] = lambda x=x, k=kernel: tight(x, k)
        right = ways["FFT", length]()
        for way in ("tight FFT", "conv1d", "product"):
            if (way, length) in ways:
                got = ways[way, length]()
                torch.testing.assert_close(got, right, atol=1e-2, rtol=1e-3)
    seconds = {
        key: statistics.median(times)
        for key, times in race(ways, rounds=7, slice_s=0.1).items()
    }
    record(
        "convolution",
        kind="timing",
        seed=SEED,
        title=f"A causal convolution, {BATCH} sequences of {WIDTH} channels, "
        "two threads",
        prediction=(
            "By operations the FFT wins from 127 on. A direct sum runs "
            "several times as many FLOPs a second, so it is overtaken later, "
            "between 512 and 1,024. At 16,384 it takes 71 times as many "
            "operations, and at least 40 times as long. Transforms of 2L - 1 "
            "places, primes and the like, take several times as long as "
            "those of 2L."
        ),
        columns={"way": "", "length": "", "seconds": "s", "rate": "FLOP/s"},
        labels={"rate": "FLOPs a second (tight FFT: counted as FFT)"},
        rows=[
            (
                way,
                length,
                spent,
                (fft_flops if "FFT" in way else direct_flops)(length)
                * BATCH
                * WIDTH
                / spent,
            )
            for (way, length), spent in seconds.items()
        ],
    )
