"""What a pipeline costs, in closed form.

    p = stages, one on each rank    m = micro_batches    v = chunks
    s = stage                       b, n, h = batch, length, hidden
    F, I, W = forward, and the two halves of backward

Sources
- Huang et al. 2018, arXiv 1811.06965, §2.3: (p − 1)/(m + p − 1) of all time.
- Narayanan et al. 2021, arXiv 2104.04473, §2.2: (p − 1)/(vm) of the ideal.
- Qi et al. 2023, arXiv 2401.10241, table 1: ZB-H1.
- Korthikanti et al. 2022, arXiv 2205.05198, §4.2.3: 1 + (p − 1)/(pv).
"""

from fractions import Fraction


def bubble(stages: int, micro_batches: int, chunks: int = 1) -> Fraction:
    """(p − 1)/(vm): waiting over work, of GPipe, 1F1B and interleaved.

    Exact for equal stages and messages that take no time; for interleaved
    where m is at least p.
    """
    check(stages=stages, micro_batches=micro_batches, chunks=chunks)
    return Fraction(stages - 1, chunks * micro_batches)


def idle(stages: int, micro_batches: int, chunks: int = 1) -> Fraction:
    """Waiting over all time: for v = 1 it is (p − 1)/(m + p − 1)."""
    of_work = bubble(stages, micro_batches, chunks)
    return of_work / (1 + of_work)


def zero_bubble_bubble(
    stages: int, micro_batches: int, forward=1, input=1, weight=1
) -> Fraction:
    """(p − 1)(F + I − W)/(m(F + I + W)), of ZB-H1.

    Exact for m of at least p, and W no longer than F and I.
    """
    check(stages=stages, micro_batches=micro_batches)
    if micro_batches < stages:
        raise ValueError(
            f"micro_batches: got {micro_batches}, expected at least stages = "
            f"{stages}"
        )
    if weight > min(forward, input):
        raise ValueError(
            f"weight: got {weight}, expected at most forward and input, "
            f"{min(forward, input)}"
        )
    work = Fraction(forward + input + weight) * micro_batches
    return (stages - 1) * Fraction(forward + input - weight) / work


def live(
    stages: int, micro_batches: int, stage: int, schedule: str, chunks: int = 1
) -> Fraction:
    """The most micro-batches that a rank holds at one time.

    A schedule is "gpipe", "1f1b", "interleaved" (a micro-batch is v stages;
    the first group of them has p, or a few more) or "zb-h1", where what waits
    for its W counts.
    """
    check(stages=stages, micro_batches=micro_batches, chunks=chunks)
    if not 0 <= stage < stages:
        raise ValueError(f"stage: got {stage}, expected 0 to {stages - 1}")
    group = -(-micro_batches // max(1, micro_batches // stages))
    warm = 2 * (stages - stage - 1) + (chunks - 1) * group + 1
    most = {
        "gpipe": micro_batches,
        "1f1b": min(stages - stage, micro_batches),
        "interleaved": min(warm, chunks * micro_batches),
        "zb-h1": min(stages, micro_batches),
    }
    if schedule not in most:
        raise ValueError(
            f"schedule: got {schedule!r}, expected one of {', '.join(most)}"
        )
    if schedule != "interleaved":
        return Fraction(most[schedule])
    return Fraction(most[schedule], chunks)


def traffic(batch: int, length: int, hidden: int) -> int:
    """2bnh numbers over a boundary for a micro-batch: there and back."""
    check(batch=batch, length=length, hidden=hidden)
    return 2 * batch * length * hidden


def check(**numbers: int) -> None:
    """Raise `ValueError` that names a number below 1."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name}: got {number}, expected at least 1")
