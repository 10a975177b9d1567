"""What a rank keeps, sorted as the formula sorts it.

    weights, gradients = those of the model's own bits
    states             = the optimizer's moments, and a master copy if any

Adam also counts its steps, one number for each piece; and a weight that is
away is one number, in stage 3. The formula knows neither.
"""

from torch import Tensor

from llmnotes.parallel.data_parallel.memory import held
from llmnotes.parallel.zero.optimizer import ShardedOptimizer


def kept(optimizer: ShardedOptimizer) -> dict[str, list[Tensor]]:
    """The tensors that stay between two steps, by what they are."""
    units = optimizer.units
    moments = [
        x
        for found in optimizer.optimizer.state.values()
        for x in found.values()
        if isinstance(x, Tensor) and x.ndim
    ]
    copies = [u.master for u in units if u.master is not u.own]
    grads = [u.gradient if u.total is None else u.total for u in units]
    return {
        "weights": [u.own if u.whole is None else u.whole for u in units],
        "gradients": [g for g in grads if g is not None],
        "states": moments + copies,
    }


def measured(optimizer: ShardedOptimizer) -> dict[str, int]:
    """Bytes under them, each storage once."""
    return {what: held(found) for what, found in kept(optimizer).items()}
