"""How every bar looks; without torch, which the NumPy chapters do without."""

import contextlib
import sys
from typing import Any

from tqdm import tqdm
from tqdm.utils import ObjectWrapper

# The loss first: what does not fit into a narrow terminal is cut off.
BAR = "{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining} {rate_fmt}"


def writable(stream: Any) -> bool:
    """Whether anything can be shown there.

    A program without a console has None, and a daemon may have closed it.
    """
    return stream is not None and not getattr(stream, "closed", False)


def terminal(stream: Any) -> bool:
    """Whether somebody sits before it."""
    asked = getattr(stream, "isatty", None)
    return writable(stream) and asked is not None and asked()


class Patient(ObjectWrapper):
    """A stream that may go away: what it no longer takes is not shown.

    The terminal was closed, the other end of the pipe has ended: neither
    is a reason for hours of training to end as well.
    """

    def write(self, text: str) -> None:
        """Write, if it is possible."""
        with contextlib.suppress(OSError, ValueError):
            self._wrapped.write(text)

    def flush(self) -> None:
        """Flush, if it is possible."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            self._wrapped.flush()

    def __eq__(self, other: object) -> bool:
        """Tell whether it is the same stream, as tqdm asks."""
        return self._wrapped == getattr(other, "_wrapped", other)


def bar(steps=None, *, on: bool = True, **options) -> tqdm:
    """A bar on stderr, if that is a terminal; else it shows nothing.

    `options` are tqdm's.
    """
    hidden = not (on and terminal(sys.stderr))
    file = None if hidden else Patient(sys.stderr)
    return tqdm(steps, bar_format=BAR, disable=hidden, file=file, **options)
