"""S4: linear state spaces, as a recurrence, a convolution and a scan."""

from llmnotes.models.s4.diagonal import (
    Modes,
    diagonal_kernel,
    powers,
    zoh_diagonal,
)
from llmnotes.models.s4.forms import (
    convolve,
    convolve_direct,
    crossing,
    direct_flops,
    fft_flops,
    kernel,
    recurrence,
)
from llmnotes.models.s4.hippo import (
    basis,
    diagonal_inverse,
    diagonal_legs,
    diagonal_linear,
    faded,
    legs,
    normal_part,
    recall,
    remember,
)
from llmnotes.models.s4.layer import S4D
from llmnotes.models.s4.model import S4, Block, S4Config, without_decay
from llmnotes.models.s4.scan import (
    chunked,
    combine,
    loop,
    products,
    restarted,
    rounds,
)
from llmnotes.models.s4.space import Steps, bilinear, euler, radius, zoh
