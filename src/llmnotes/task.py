"""What the training loop asks of a task, whatever is learned.

batch(step)        = the examples of a step, anything `loss` understands
loss(model, batch) = one number to go down, with its gradient
evaluate(model)    = a loss on what is never trained on: lower is better
"""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

IGNORED = -100  # PyTorch's ignore_index: a place without a target


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

    def targets(self, batch: Any) -> int:
        """How many targets the loss of a batch is the mean over.

        Pieces of a batch count by it. Unless a task says otherwise, the
        last tensor holds targets: those of -100 do not count, real numbers
        count by rows.
        """
        last = batch[-1]
        if last.is_floating_point() or last.is_complex():
            return len(last)
        return int((last != IGNORED).sum())

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


def weighed(task: Task, batch: Any, pieces: int) -> list[tuple[Any, float]]:
    """The pieces of a batch, each with what its mean loss is divided by.

    What comes out adds up to the mean over all targets: a piece with half
    of them counts for a half, one without any for nothing. Divided by their
    number alone, pieces with few targets would count too much.

    Raises `ValueError` for a batch without targets.
    """
    if pieces == 1:
        return [(batch, 1.0)]
    parts = list(cut(batch, pieces))
    counts = [task.targets(part) for part in parts]
    if not any(counts):
        raise ValueError("batch: got no target, expected at least one")
    whole = sum(counts)
    return [
        (part, whole / count)
        for part, count in zip(parts, counts, strict=True)
        if count
    ]


def a_loss(found: Any) -> Tensor:
    """Return what a task calls a loss; `ValueError` if nothing is in it."""
    if not isinstance(found, Tensor) or found.numel() != 1:
        shape = getattr(found, "shape", None)
        got = type(found).__name__ if shape is None else f"shape {shape}"
        raise ValueError(f"loss: got {got}, expected a tensor of one number")
    if not found.requires_grad:
        raise ValueError(
            "loss: got a number without a gradient, expected one computed "
            "from weights that require one"
        )
    return found.reshape(())
