"""A backward that sets what it would have to add to zeros.

A gradient is added to because some tensors get it from two places. Most get
it from one, and then setting it spares three passes over memory: zeros are
written, read again for the sum, and written over. For GPT-2 124M that is
0.5 GB of parameters, 0.3 GB of activations.

    first = a call all of whose writes are the first of the step
    SETS  = kernels of which there is one that sets: `name + "_first"`
"""

import numpy as np

from llmnotes.transformer.gpt2_by_hand import GPT2, calls
from llmnotes.transformer.gpt2_by_hand.calls import At, Call

SETS = {
    "matmul_backward",
    "gelu_backward",
    "residual_backward",
    "crossentropy_softmax_backward",
}


def first_writes(todo: list[Call]) -> tuple[list[Call], list[At]]:
    """(calls that set where they may, places that must still be zero)."""
    written, found, zeros = set(), [], []
    for call in todo:
        new = [place for place in call.writes if place not in written]
        new = [place for place in new if place is not None]
        whole = len(new) == sum(place is not None for place in call.writes)
        if call.name in SETS and whole:
            call = call._replace(name=f"{call.name}_first")
        else:
            zeros += new
        written.update(new)
        found.append(call)
    return found, zeros


class FirstWrites(GPT2):
    """A GPT2 whose `step` zeroes no more than it must.

    Its kernels have a `*_first` for each of SETS. `backward` forgets the
    gradients of before: `zero_grad` is part of it.
    """

    def zero_grad(self) -> None:
        """Make room for gradients; whatever is in there is forgotten."""
        self.broken = None
        if self.grads is None:
            super().zero_grad()

    def backward(self, share: float = 1.0) -> None:
        """Set the gradients of all parameters to those of share · loss."""
        if self.loss is None or self.dacts is None or self.grads is None:
            super().zero_grad()
            return super().backward(share)
        self.dacts["losses"][:] = share / self.acts["losses"].size
        todo, zeros = first_writes(calls.backward(self.config.n_layer))
        for place in zeros:
            np.asarray(calls.find(self.tensors, place))[...] = 0
        calls.run(todo, self.kernels, self.tensors)
        return None
