"""What decides a training run: the numbers, and which of them can be.

    steps         = number of optimizer steps
    block         = T (tokens of a sequence)
    learning_rate = η, the peak
    betas         = β₁, β₂ of AdamW
    weight_decay  = λ
    clip          = largest norm of the gradient; a longer one is shortened
    accumulate    = pieces a batch is cut into when it does not fit at once

No torch in here: a wrong number is refused at once, not after its import.

Sources
- Loshchilov & Hutter 2017, "SGDR", arXiv 1608.03983 (the cosine).
"""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import no_type_check

SCHEDULES = "cosine", "linear"
DTYPES = "float32", "bfloat16"


@no_type_check  # under test, too, its own checks answer
@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run computes, apart from its data.

    `batch_size` sequences make one optimizer step; `accumulate` cuts them
    into pieces that need less memory. Each counts by its number of targets,
    see `Task.targets`, so that only rounding differs. `clip` and
    `warmup` are off at 0. `dtype` is "float32", or "bfloat16" for mixed
    precision: bfloat16 products, float32 weights. A task that is not text
    makes its own batches and has no use for `block`. Another schedule is a
    subclass with a `rate` of its own.

    Raises `ValueError` naming the field that cannot be.
    """

    steps: int = 4000
    batch_size: int = 16
    block: int = 32
    learning_rate: float = 1e-3
    warmup: int = 100
    min_learning_rate: float = 1e-4
    schedule: str = "cosine"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    clip: float = 1.0
    accumulate: int = 1
    eval_every: int = 500
    eval_batches: int = 20
    seed: int = 0
    dtype: str = "float32"
    compile: bool = False

    def __post_init__(self):
        counts = "steps batch_size block accumulate eval_every eval_batches"
        for name in counts.split():
            self.check(name, is_count(getattr(self, name), 1), "at least 1")
        for name in ("warmup", "seed"):
            self.check(name, is_count(getattr(self, name), 0), "0 or more")
        for name in ("learning_rate", "weight_decay", "clip"):
            value = getattr(self, name)
            fits = isinstance(value, Real) and value >= 0
            self.check(name, fits, "0 or more")
        for name in ("learning_rate", "weight_decay"):
            fits = getattr(self, name) < math.inf
            self.check(name, fits, "a finite number")
        self.check_together()
        for name, value in vars(self).items():  # NumPy's numbers as Python's
            object.__setattr__(self, name, plain(value))
        object.__setattr__(self, "betas", tuple(map(plain, self.betas)))

    def check_together(self) -> None:
        """Check the fields that are more than one number."""
        peak = self.learning_rate
        low = 0 <= self.min_learning_rate <= peak
        self.check("min_learning_rate", low, f"0 to learning_rate = {peak}")
        betas = len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas)
        self.check("betas", betas, "two numbers from 0 to below 1")
        for name, known in (("schedule", SCHEDULES), ("dtype", DTYPES)):
            fits = getattr(self, name) in known
            self.check(name, fits, f"one of {', '.join(known)}")
        divides = self.batch_size % self.accumulate == 0
        expected = f"a divisor of batch_size = {self.batch_size}"
        self.check("accumulate", divides, expected)

    def rate(self, step: int) -> float:
        """η_t: up in a line over `warmup` steps, then down to the minimum.

        Steps count from 0. The first step's rate is above zero, else that
        step would do nothing; the last step's is the minimum.

        Source: Loshchilov & Hutter 2017.
        """
        peak, low = self.learning_rate, self.min_learning_rate
        if step < self.warmup:
            return peak * (step + 1) / self.warmup
        span = max(1, self.steps - 1 - self.warmup)
        done = min(1.0, (step - self.warmup) / span)
        if self.schedule == "linear":
            return peak + (low - peak) * done
        return low + (peak - low) * (1 + math.cos(math.pi * done)) / 2

    def check(self, name: str, fits: bool, expected: str) -> None:
        """Raise `ValueError` unless the field fits."""
        if not fits:
            raise ValueError(
                f"{name}: got {getattr(self, name)!r}, expected {expected}"
            )


def plain(value: object) -> object:
    """A number of another kind as Python's own, anything else as it is."""
    if isinstance(value, bool | int) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def is_count(value: object, low: int) -> bool:
    """Whether a value is an integer of at least `low`."""
    if isinstance(value, bool):  # an Integral, too
        return False
    return isinstance(value, Integral) and bool(value >= low)
