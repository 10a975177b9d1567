"""How every bar looks; without torch, which the NumPy chapters do without."""

import sys

from tqdm import tqdm

# The loss first: what does not fit into a narrow terminal is cut off.
BAR = "{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining} {rate_fmt}"


def bar(steps=None, *, on: bool = True, **options) -> tqdm:
    """A bar on stderr, if that is a terminal; else it shows nothing.

    `options` are tqdm's.
    """
    on = on and sys.stderr is not None  # None: a program without a console
    hidden = None if on else True  # None: on a terminal only
    return tqdm(steps, bar_format=BAR, disable=hidden, **options)
