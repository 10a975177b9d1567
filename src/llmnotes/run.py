"""A run: what changes while a model trains, saved and brought back.

Legend
step    = optimizer steps done; the data's position too, because a batch
          is a function of seed and step
history = one row per evaluation
facts   = configuration and task; the same, or it is another run
about   = what the caller wants kept with the weights
"""

import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from llmnotes import checkpoint
from llmnotes.task import Task
from llmnotes.train_config import TrainConfig

try:
    import fcntl
except ImportError:  # Windows; there, nobody keeps two runs apart
    fcntl = None

LOCK = ".lock"


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


class Stopped(KeyboardInterrupt):
    """Ctrl-C, after a save."""

    def __init__(self, saved: str):
        super().__init__(f"{saved}; resume=True goes on from there")
        self.saved = saved


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
    step: int = 0
    losses: list[Tensor] = field(default_factory=list)  # since the last row
    history: History = field(default_factory=History)
    since: tuple[float, int] = (0.0, 0)  # time and step of the last row

    def begin(self, resume: bool) -> None:
        """Write the first checkpoint, or go on from the newest one."""
        facts = asdict(self.config) | self.task.facts()
        self.facts = json.loads(json.dumps(facts))
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

        Weights that are no numbers are refused: who goes on with them only
        fails again.
        """
        if self.out is None:
            return
        for name, p in self.model.named_parameters():
            if not p.isfinite().all():
                raise not_finite(name, "nan or infinity", self.step)
        notes = {
            "about": self.about,
            "facts": self.facts,
            "threads": torch.get_num_threads(),
            "losses": [float(loss) for loss in self.losses],
            "history": [asdict(row) for row in self.history],
        }
        checkpoint.save(self.out, self.step, self.model, self.optimizer, notes)

    def load(self) -> None:
        """Go on from the newest checkpoint, if it is of the same run."""
        notes = checkpoint.read(self.out)
        if "facts" not in notes:
            raise ValueError(
                f"{self.out}: got weights without the notes of a run, "
                "expected a folder that train wrote"
            )
        for name in {**notes["facts"], **self.facts}:
            was, now = notes["facts"].get(name), self.facts.get(name)
            if now != was:
                raise ValueError(
                    f"{name}: got {now}, expected {was}, with which the run "
                    f"in {self.out} began; give that, or another folder"
                )
        if notes["threads"] != torch.get_num_threads():
            warnings.warn(
                f"{self.out} comes from {notes['threads']} threads, this is "
                f"{torch.get_num_threads()}: the last bits will differ",
                stacklevel=2,
            )
        checkpoint.load(self.out, self.model, self.optimizer)
        self.step = notes["step"]
        self.losses = list(torch.tensor(notes["losses"], device=self.device))
        self.history = History(Row(**row) for row in notes["history"])

    def add(self, loss: Tensor) -> None:
        """Count a step. The loss stays on its device: no waiting for it."""
        self.losses.append(loss)
        self.step += 1

    def note(self, learning_rate: float, look: Callable[[], float]) -> None:
        """Add a row; `look` evaluates, and its time does not count."""
        losses = torch.stack(self.losses).tolist()  # waits for the device
        seconds = time.perf_counter() - self.since[0]
        mean = math.fsum(losses) / len(losses)
        finite("loss", mean, self.step)
        speed = (self.step - self.since[1]) * self.task.size / seconds
        judged = finite("validation loss", look(), self.step)
        row = Row(self.step, mean, judged, learning_rate, speed)
        self.history.append(row)
        self.losses = []
        self.since = time.perf_counter(), self.step

    def stopped(self) -> Stopped:
        """Save, and return what to raise."""
        self.save()
        return Stopped(f"stopped after step {self.step}, saved in {self.out}")


def finite(name: str, value: float, step: int) -> float:
    """Return a loss; `RuntimeError` if it is no number or has no bounds."""
    if not math.isfinite(value):
        raise not_finite(name, value, step)
    return value


def not_finite(name: str, got: object, step: int) -> RuntimeError:
    """The error for numbers that training has driven out of bounds."""
    return RuntimeError(
        f"{name}: got {got} by step {step}, expected a finite number; a "
        "lower learning_rate or a longer warmup may help"
    )


@contextmanager
def hold(out: str | Path | None) -> Iterator[None]:
    """Keep other runs out of a folder meanwhile.

    Two that write into one would mix their checkpoints. The system lets go
    of a lock when its process ends, however it ends; an empty file stays.
    """
    if out is None or fcntl is None:
        yield
        return
    checkpoint.steps(out)  # complains about a file
    Path(out).mkdir(parents=True, exist_ok=True)
    with open(Path(out) / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"out: got {out}, where another run is writing; wait until "
                "it ends, or give another folder"
            ) from error
        except OSError:
            pass  # some network disks have no locks: train all the same
        yield


@contextmanager
def stop_on_ctrl_c(run: Run) -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets; a second Ctrl-C stops at once.

    A step that is cut in the middle would leave weights half updated. Where
    nothing can be saved, or in a thread that gets no signals, Ctrl-C stays
    as it is.
    """
    asked = threading.Event()

    def ask(number, frame):
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    main = threading.current_thread() is threading.main_thread()
    if run.out is None or not main:
        yield asked
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
