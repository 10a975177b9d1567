"""What the fork server does before the first fork: numba gets ready once."""

import numpy as np

from llmnotes.compiled import exp

READY = exp(np.float32(0))
