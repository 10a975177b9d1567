"""States, gradients and weights cut among ranks."""

from llmnotes.parallel.zero.flat import Flat, Piece, blocks, units
from llmnotes.parallel.zero.formulas import FLOAT32, fitting, memory, traffic
from llmnotes.parallel.zero.gradients import ShardedGradients
from llmnotes.parallel.zero.kept import kept, measured
from llmnotes.parallel.zero.offload import Fetched, Link, Offloaded
from llmnotes.parallel.zero.optimizer import ShardedOptimizer, Unit
from llmnotes.parallel.zero.parameters import ShardedParameters
