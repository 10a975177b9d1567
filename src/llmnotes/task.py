"""What the training loop asks of a task, whatever is learned.

batch(step)        = the examples of a step, anything `loss` understands
loss(model, batch) = one number to go down, with its gradient
evaluate(model)    = a loss on what is never trained on: lower is better
"""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Task(Protocol):
    """Batches, their loss, and how a model is judged.

    A batch is a function of the step: then a run that was stopped goes on
    with the batches it would have had. A batch that is a tuple of tensors
    can be cut into pieces, see `TrainConfig.accumulate`.
    """

    unit = "steps"  # what the bar counts,
    size = 1  # how many of these a step takes,
    measure = "loss"  # and what the curve shows

    def batch(self, step: int) -> Any:
        """The examples of a step, counted from 0."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """A scalar, the mean over the batch."""
        ...

    def evaluate(self, model: nn.Module) -> float:
        """Judge the model, which is in evaluation mode."""
        ...

    def facts(self) -> dict:
        """What a checkpoint must have been trained on to be gone on with.

        Anything that JSON can hold; a task with data of its own puts a
        checksum here.
        """
        return {"task": type(self).__name__}


def cut(batch: Any, pieces: int) -> Iterable:
    """A batch in equal pieces along the first axis.

    Raises `ValueError` for a batch that is not a tuple of tensors, or whose
    length they do not divide.
    """
    if pieces == 1:
        return [batch]
    if type(batch) is not tuple or len(batch[0]) % pieces:
        raise ValueError(
            f"accumulate: got {pieces}, expected 1 or, where a batch is a "
            "tuple of tensors, a divisor of their length"
        )
    return zip(*(part.chunk(pieces) for part in batch), strict=True)
