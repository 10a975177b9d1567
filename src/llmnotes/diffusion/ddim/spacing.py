"""Which of the schedule's steps a sampler visits: few of the thousand.

last  = T, the noisiest step; count = how many are visited
times = t of each, from noise to picture, counted from 1 (diffusers: from 0)

Sources
- Song et al. 2021, "DDIM", arXiv 2010.02502, §4.2 (a part of the steps will
  do) and appendix D.2.
- Lin et al. 2024, "Common Diffusion Noise Schedules and Sample Steps are
  Flawed", arXiv 2305.08891, table 2 (the three names).
"""

from collections.abc import Sequence
from numbers import Integral


def trailing(last: int, count: int) -> list[int]:
    """Even steps that begin at T; the last one is a whole step from 0.

    Source: Lin et al. 2024, table 2.
    """
    check_count(last, count)
    return [round(last - i * last / count) for i in range(count)]


def leading(last: int, count: int) -> list[int]:
    """Even steps that end at 1, and therefore never begin at T.

    With 50 of 1,000 the first is 981: the network is told of a trace of
    picture where the sampler put none. Source: Lin et al. 2024, table 2.
    """
    check_count(last, count)
    return [i * (last // count) + 1 for i in reversed(range(count))]


def linspace(last: int, count: int) -> list[int]:
    """Both ends, T and 1, and even steps between them.

    Source: Lin et al. 2024, table 2.
    """
    check_count(last, count, first=2)
    gap = (last - 1) / (count - 1)
    return [round(i * gap) + 1 for i in reversed(range(count))]


def visited(last: int, steps: int | Sequence[int]) -> list[int]:
    """A number of steps, trailing, or the steps themselves; then 0.

    Raises `ValueError` for more steps than there are, for none, and for
    steps that do not go down from at most T to at least 1.
    """
    if not isinstance(steps, Sequence):
        return [*trailing(last, steps), 0]
    check_down(last, steps)
    return [*steps, 0]


def check_count(last: int, count: int, first: int = 1) -> None:
    """Raise `ValueError` for a number of steps that cannot be."""
    if not (isinstance(count, Integral) and first <= count <= last):
        raise ValueError(f"steps: got {count}, expected {first} to {last}")


def check_down(last: int, times: Sequence[int], end: int = 1) -> None:
    """Raise `ValueError` unless times go down, from T at most."""
    if not len(times):
        raise ValueError("steps: got none, expected at least one")
    for before, after in zip([last + 1, *times], times, strict=False):
        if not (isinstance(after, Integral) and end <= after < before):
            raise ValueError(
                f"steps: got {after} after {before}, expected whole numbers "
                f"that go down from at most {last} to at least {end}"
            )
