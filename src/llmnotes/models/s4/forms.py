"""One map in two forms: a recurrence over time, and a convolution.

    y_t = C h_t,  h_t = Ā h_{t-1} + B̄ x_t,  h before the first step = start
    kernel      K_l = C Ā^l B̄: what an input does to the output l steps on
    convolution y_t = Σ_{l ≤ t} K_l x_{t-l}
    places      = of a transform: kernel's length and x's, together, less one,
                  as many as a product of two series has (else its end wraps
                  around), and then up to a power of 2

Sources
- Gu, Goel & Ré 2021, S4, arXiv 2111.00396, §2.3-2.4.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from llmnotes.checks import check_sizes, checked
from llmnotes.models.s4.space import check_fine


@checked
def recurrence(
    a: Float[Tensor, "state state"],
    b: Float[Tensor, "state"],
    c: Float[Tensor, "state"],
    x: Float[Tensor, "batch length"],
    start: Float[Tensor, "batch state"] | None = None,
) -> tuple[Float[Tensor, "batch length"], Float[Tensor, "batch state"]]:
    """Outputs, and the state behind the last of them. a, b are Ā, B̄.

    Raises `ValueError` naming what does not fit, and for 16 bits.
    """
    check_fine(x=x)
    h = x.new_zeros(len(x), len(a)) if start is None else start
    out = []
    for x_t in x.unbind(1):
        h = h @ a.T + x_t[:, None] * b
        out.append(h @ c)
    return torch.stack(out, 1), h


@checked
def kernel(
    a: Float[Tensor, "state state"],
    b: Float[Tensor, "state"],
    c: Float[Tensor, "state"],
    length: int,
) -> Float[Tensor, "length"]:
    """K_0 … K_{length-1} of a dense Ā, one product after the other.

    Raises `ValueError` for a length below 1, and as `recurrence` does.
    """
    check_fine(a=a)
    check_sizes(length=length)
    found = []
    for _ in range(length):
        found.append(c @ b)
        b = a @ b
    return torch.stack(found)


def room(places: int) -> int:
    """The next power of 2: what transforms are quickest for.

    2L - 1 places would be enough, but that is often a prime or has large
    divisors (8,191 for a length of 4,096), and several times as slow.
    """
    return 1 << (places - 1).bit_length()


def check_broadcast(x: Tensor, kernel: Tensor) -> None:
    """Raise `ValueError` unless there is a kernel for each series."""
    pairs = zip(x.shape[-2::-1], kernel.shape[-2::-1], strict=False)
    if any(n != m and 1 not in (n, m) for n, m in pairs):
        raise ValueError(
            f"kernel: got shape {tuple(kernel.shape)}, expected one that "
            f"broadcasts with x's {tuple(x.shape)}, but for the last axis"
        )


@checked
def convolve(
    x: Float[Tensor, "... length"], kernel: Float[Tensor, "... taps"]
) -> Float[Tensor, "... length"]:
    """y_t = Σ_l K_l x_{t-l} by Fourier transforms: O(L log L).

    Series that are transformed are periodic: without zeros behind them the
    newest inputs would act on the oldest outputs. Raises `ValueError` for 16
    bits, which the transforms do not have, and for misfits.
    """
    check_fine(x=x)
    check_broadcast(x, kernel)
    length = x.shape[-1]
    places = room(length + kernel.shape[-1] - 1)
    both = torch.fft.rfft(x, places) * torch.fft.rfft(kernel, places)
    return torch.fft.irfft(both, places)[..., :length]


@checked
def convolve_direct(
    x: Float[Tensor, "batch width length"],
    kernel: Float[Tensor, "width length"],
) -> Float[Tensor, "batch width length"]:
    """The same sum as it is written: O(L²).

    PyTorch's conv1d does not turn its kernel around, so it is turned here.
    """
    check_fine(x=x)
    width, length = kernel.shape
    turned = kernel.flip(-1)[:, None]
    return F.conv1d(F.pad(x, (length - 1, 0)), turned, groups=width)


def direct_flops(length: int) -> int:
    """Multiply-adds of the causal sum, as two FLOPs each: L (L + 1)."""
    check_sizes(length=length)
    return length * (length + 1)


def fft_flops(length: int) -> int:
    """Three real transforms, and a product of spectra.

    A real transform of n places counts 2.5 n log₂ n FLOPs, half of a complex
    one; a product of two complex numbers six.
    """
    check_sizes(length=length)
    places = room(2 * length - 1)
    rounds = places.bit_length() - 1
    return round(3 * 2.5 * places * rounds) + 6 * (places // 2 + 1)


def crossing() -> int:
    """The shortest length whose convolution takes fewer FLOPs by FFT."""
    length = 1
    while fft_flops(length) >= direct_flops(length):
        length += 1
    return length
