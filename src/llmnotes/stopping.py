"""What keeps a run whole: a folder for one run only, and a patient Ctrl-C.

held  = a folder in which a run writes; a second one is refused
asked = an event: Ctrl-C came, the step that is going on ends first
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmnotes import checkpoint

try:
    import fcntl
except ImportError:  # Windows; there, nobody keeps two runs apart
    fcntl = None

LOCK = ".lock"


class Stopped(KeyboardInterrupt):
    """Ctrl-C, after a save."""

    def __init__(self, saved: str):
        super().__init__(f"{saved}; resume=True goes on from there")
        self.saved = saved


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
    with open(Path(out) / LOCK, "w", encoding="utf-8") as file:
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
def stop_on_ctrl_c(out: Path | None) -> Iterator[threading.Event]:
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
    if out is None or not main:
        yield asked
        return
    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
