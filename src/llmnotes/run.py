"""A run: what changes while a model trains, saved and brought back.

Legend
step    = optimizer steps done; the data's position too, because a batch
          is a function of seed and step
history = one row per evaluation
facts   = configuration and task; the same, or it is another run
longer  = [step, steps]: where a run was made longer, and how long it was
about   = what the caller wants kept with the weights
"""

import contextlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llmnotes import checkpoint
from llmnotes.stopping import Stopped
from llmnotes.task import Task
from llmnotes.train_config import TrainConfig

NOTES = {"facts", "threads", "losses", "history"}


@dataclass(frozen=True)
class Row:
    """What one evaluation saw; `loss` is the mean since the row before.

    A task that is not text is counted in its own `unit`, not in tokens.
    """

    step: int
    loss: float
    validation_loss: float
    learning_rate: float
    tokens_per_second: float


class History(list[Row]):
    """One row per evaluation; `final_loss` judges the trained model.

    For a text that is over all of its validation part, else the last row's.
    """

    final_loss: float = math.nan


@dataclass
class Run:
    """All that a checkpoint holds, and where it is kept."""

    model: nn.Module
    task: Task
    optimizer: Any  # with param_groups, zero_grad and step
    config: TrainConfig
    out: Path | None
    about: dict | None = None
    facts: dict = field(default_factory=dict)
    longer: list[list[int]] = field(default_factory=list)
    step: int = 0
    losses: list[Tensor] = field(default_factory=list)  # since the last row
    history: History = field(default_factory=History)
    since: tuple[float, int] = (0.0, 0)  # time and step of the last row
    masks: set[str] = field(default_factory=set)  # not finite by design

    def begin(self, resume: bool) -> None:
        """Write the first checkpoint, or go on from the newest one."""
        facts = asdict(self.config) | self.task.facts()
        self.facts = as_json("facts", facts)
        self.about = as_json("about", self.about)
        self.masks = {
            name
            for name, x in self.numbers()
            if not (x.requires_grad or x.isfinite().all())
        }
        found = [] if self.out is None else checkpoint.steps(self.out)
        if found and not resume:
            raise ValueError(
                f"out: got {self.out}, which holds a run at step "
                f"{found[-1]}; expected resume, or another folder"
            )
        self.load() if found else self.save()
        self.since = time.perf_counter(), self.step

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def save(self) -> None:
        """Write a checkpoint, if there is a folder for it.

        Numbers that are not finite are refused: who goes on with them only
        fails again.
        """
        if self.out is None:
            return
        losses = [float(loss) for loss in self.losses]
        for loss in losses:
            finite("loss", loss, self.step)
        self.check_numbers()
        notes = {
            "about": self.about,
            "facts": self.facts,
            "longer": self.longer,
            "threads": torch.get_num_threads(),
            "losses": losses,
            "history": [asdict(row) for row in self.history],
        }
        checkpoint.save(self.out, self.step, self.model, self.optimizer, notes)

    def numbers(self) -> Iterator[tuple[str, Tensor]]:
        """All tensors that training changes, or could, by name."""
        yield from self.model.named_parameters()
        yield from self.model.named_buffers()
        state = getattr(self.optimizer, "state", None)
        names = {p: name for name, p in self.model.named_parameters()}
        for p, moments in (
            state if isinstance(state, Mapping) else {}
        ).items():
            for what, x in moments.items():
                if isinstance(x, Tensor):
                    yield f"{what} of {names.get(p, 'a weight')}", x

    def check_numbers(self) -> None:
        """Raise `RuntimeError` for one that is no longer finite.

        A mask of -inf among the buffers was never finite, and may stay.
        """
        for name, x in self.numbers():
            if name not in self.masks and not x.isfinite().all():
                raise not_finite(name, "nan or infinity", self.step)

    def load(self) -> None:
        """Go on from the newest checkpoint, if it is of the same run."""
        notes = checkpoint.read(self.out)
        if not NOTES <= notes.keys() or not isinstance(notes["facts"], dict):
            raise ValueError(
                f"{self.out}: got weights without the notes of a run, "
                "expected a folder that train wrote"
            )
        self.check_facts(notes["facts"], notes["step"])
        if notes["threads"] != torch.get_num_threads():
            warn(
                f"{self.out} comes from {notes['threads']} threads, this is "
                f"{torch.get_num_threads()}: the last bits will differ",
            )
        history, losses = self.told(notes)
        checkpoint.load(self.out, self.model, self.optimizer)
        self.step, self.losses, self.history = notes["step"], losses, history
        was = notes["facts"]["steps"]
        self.longer = notes.get("longer", [])
        if was < self.config.steps:
            self.lengthen(was)

    def told(self, notes: dict) -> tuple[History, list[Tensor]]:
        """The rows of a checkpoint, and the losses since the last one."""
        try:
            rows = History(Row(**row) for row in notes["history"])
            return rows, list(
                torch.tensor(notes["losses"], device=self.device)
            )
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"{self.out}: got notes that are no run's ({error}), "
                "expected a folder that train wrote"
            ) from error

    def check_facts(self, facts: dict, step: int) -> None:
        """Raise `ValueError` for another run; more steps are no other one."""
        for name in {**facts, **self.facts}:
            was, now = facts.get(name), self.facts.get(name)
            if name == "steps" and isinstance(was, int) and now > was:
                continue
            if now != was:
                more = " or more" if name == "steps" else ""
                raise ValueError(
                    f"{name}: got {now}, expected {was}{more}, with which "
                    f"the run in {self.out} began; give that, or another "
                    "folder"
                )

    def lengthen(self, was: int) -> None:
        """Note that the run is to take more steps, and say what follows."""
        rate, steps = self.config.rate, self.config.steps
        before = self.history[-1].learning_rate if self.history else rate(0)
        self.longer = [*self.longer, [self.step, was]]
        warn(
            f"{self.out}: {was} steps become {steps}; from step {self.step} "
            f"the learning rate is that of a run of {steps}, "
            f"{rate(self.step):.2g} after {before:.2g}",
        )

    def add(self, loss: Tensor) -> None:
        """Count a step. The loss stays on its device: no waiting for it."""
        self.losses.append(loss)
        self.step += 1

    def note(self, learning_rate: float, look: Callable[[], Any]) -> None:
        """Add a row; `look` evaluates, and its time does not count."""
        losses = torch.stack(self.losses).tolist()  # waits for the device
        seconds = time.perf_counter() - self.since[0]
        mean = math.fsum(losses) / len(losses)
        finite("loss", mean, self.step)
        speed = (self.step - self.since[1]) * self.task.size / seconds
        judged = finite("validation loss", look(), self.step)
        self.check_numbers()
        row = Row(self.step, mean, judged, float(learning_rate), speed)
        self.history.append(row)
        self.losses = []
        self.since = time.perf_counter(), self.step

    def end(self, judge: Callable[[], float] | None) -> None:
        """Judge the trained model, once; else its last evaluation does."""
        last = self.history[-1]
        if math.isnan(self.history.final_loss):
            found = last.validation_loss if judge is None else judge()
            found = finite("final loss", found, last.step)
            self.history.final_loss = found

    def stopped(self) -> Stopped:
        """Save, and return what to raise."""
        self.save()
        return Stopped(f"stopped after step {self.step}, saved in {self.out}")


def warn(message: str) -> None:
    """Warn who called into here; a stderr that is closed is no obstacle."""
    with contextlib.suppress(ValueError):
        warnings.warn(message, stacklevel=3)


def as_json(name: str, value: Any) -> Any:
    """What JSON makes of a value, NumPy's numbers included."""
    try:
        return json.loads(json.dumps(value, default=as_number))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{name}: got what JSON cannot hold ({error}), expected numbers, "
            "words, lists and dicts"
        ) from None


def as_number(value: Any) -> int | float | list:
    """A number of another kind as Python's."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__}")


def finite(name: str, value: Any, step: int) -> float:
    """Return a loss; `RuntimeError` if it is no number or has no bounds."""
    try:
        found = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{name}: got {type(value).__name__}, expected one number"
        ) from None
    if not math.isfinite(found):
        raise not_finite(name, found, step)
    return found


def not_finite(name: str, got: object, step: int) -> RuntimeError:
    """The error for numbers that training has driven out of bounds."""
    return RuntimeError(
        f"{name}: got {got} by step {step}, expected a finite number; a "
        "lower learning_rate or a longer warmup may help"
    )
