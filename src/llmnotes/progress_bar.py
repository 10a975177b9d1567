"""How every bar looks; without torch, which the NumPy chapters do without."""

import sys
from typing import Any

from tqdm import tqdm

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


def bar(steps=None, *, on: bool = True, **options) -> tqdm:
    """A bar on stderr, if that is a terminal; else it shows nothing.

    `options` are tqdm's.
    """
    hidden = not (on and terminal(sys.stderr))
    return tqdm(steps, bar_format=BAR, disable=hidden, **options)
