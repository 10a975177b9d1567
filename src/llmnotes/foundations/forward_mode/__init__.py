"""Forward mode: dual numbers, and the derivatives that they give."""

from llmnotes.foundations.forward_mode.derivatives import (
    LEVELS,
    grad,
    hvp,
    jacfwd,
    jacrev,
    jvp,
)
from llmnotes.foundations.forward_mode.dual import PUSHES, Dual
