"""DDIM: fewer steps, none of them random, and the ODE behind them."""

from llmnotes.diffusion.ddim.flow import (
    Flow,
    Rescaled,
    Way,
    crookedness,
    even,
    line,
    onto_circle,
    onto_line,
)
from llmnotes.diffusion.ddim.mixture import Mixture
from llmnotes.diffusion.ddim.model import encode, path, sample, solve
from llmnotes.diffusion.ddim.solvers import (
    DDIM,
    DPMSolver2M,
    Euler,
    Guess,
    Point,
    Solver,
    most_noise,
)
from llmnotes.diffusion.ddim.spacing import (
    leading,
    linspace,
    trailing,
    visited,
)
