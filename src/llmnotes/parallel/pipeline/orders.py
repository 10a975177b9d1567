"""Four schedules: who does what when, as lists.

    p = ranks, m = micro_batches, v = chunks

Each function builds the list of one rank after the other; nothing here knows
of time. What a list costs, the simulator says; that it can be run at all, the
simulator proves.

Sources
- Huang et al. 2018, arXiv 1811.06965, §2.3: all forwards, then all backwards.
- Narayanan et al. 2021, arXiv 2104.04473, §2.2: 1F1B, and interleaved.
- Qi et al. 2023, arXiv 2401.10241, §2.1: ZB-H1.
"""

from itertools import accumulate, pairwise

from llmnotes.parallel.pipeline.events import Event, Schedule
from llmnotes.parallel.pipeline.layers import share_out


def gpipe(ranks: int, micro_batches: int) -> Schedule:
    """All forwards, then all backwards in the same order."""
    return build(
        ranks, micro_batches, 1,
        lambda rank: paired(rank, micro_batches, micro_batches),
    )  # fmt: skip


def one_f_one_b(ranks: int, micro_batches: int) -> Schedule:
    """As soon as a gradient is there, a backward after every forward.

    Rank r does p − r − 1 forwards before: so many micro-batches are on their
    way to the last rank and back when the first gradient comes.
    """
    return build(
        ranks, micro_batches, 1,
        lambda rank: paired(rank, micro_batches, ranks - rank - 1),
    )  # fmt: skip


def paired(rank: int, micro_batches: int, warm: int) -> list[Event]:
    """`warm` forwards, then forward and backward in turn, then backwards."""
    order = [Event("F", rank, b) for b in range(min(warm, micro_batches))]
    for b in range(micro_batches):
        if warm + b < micro_batches:
            order.append(Event("F", rank, warm + b))
        order.append(Event("B", rank, b))
    return order


def interleaved(ranks: int, micro_batches: int, chunks: int) -> Schedule:
    """1F1B with v stages on each rank, so each is v times as short.

    Micro-batches go in groups of p: through the rank's first stage, then
    through its second, and so on; backwards the other way round. The way down
    and back is 2(p − r − 1) stages, after (v − 1)p of the earlier chunks.
    Where m is no multiple of p, the groups are larger, by as little as can be.
    """

    def order(rank: int) -> list[Event]:
        down = [
            Event("F", chunk * ranks + rank, b)
            for group in groups(ranks, micro_batches)
            for chunk in range(chunks)
            for b in group
        ]
        up = [
            Event("B", chunk * ranks + rank, b)
            for group in groups(ranks, micro_batches)
            for chunk in reversed(range(chunks))
            for b in group
        ]
        size = len(groups(ranks, micro_batches)[0])
        warm = 2 * (ranks - rank - 1) + (chunks - 1) * size
        return woven(down, up, warm)

    return build(ranks, micro_batches, chunks, order)


def groups(ranks: int, micro_batches: int) -> list[range]:
    """Micro-batches in groups of p, or of a few more."""
    number = max(1, micro_batches // ranks)
    ends = [0, *accumulate(share_out(micro_batches, number))]
    return [range(*pair) for pair in pairwise(ends)]


def woven(down: list[Event], up: list[Event], warm: int) -> list[Event]:
    """`warm` of the one, then one of each in turn, then the other's rest."""
    warm = min(warm, len(down))
    order = down[:warm]
    for i, event in enumerate(up):
        order += [*down[warm + i : warm + i + 1], event]
    return order


def zero_bubble(ranks: int, micro_batches: int) -> Schedule:
    """ZB-H1: 1F1B whose weights' gradients wait until nothing else is to do.

    Rank r owes r of them; so no rank holds more than p micro-batches.
    """

    def order(rank: int) -> list[Event]:
        found = []
        for event in paired(rank, micro_batches, ranks - rank - 1):
            if event.kind == "F":
                found.append(event)
                continue
            found.append(Event("I", rank, event.micro))
            if event.micro >= rank:
                found.append(Event("W", rank, event.micro - rank))
        owed = range(max(micro_batches - rank, 0), micro_batches)
        return found + [Event("W", rank, b) for b in owed]

    return build(ranks, micro_batches, 1, order)


def build(ranks: int, micro_batches: int, chunks: int, order) -> Schedule:
    """The schedule whose rank r does `order(r)`.

    Raises `ValueError` where a number is below 1.
    """
    given = {"ranks": ranks, "micro_batches": micro_batches, "chunks": chunks}
    for name, number in given.items():
        if number < 1:
            raise ValueError(f"{name}: got {number}, expected at least 1")
    orders = tuple(tuple(order(rank)) for rank in range(ranks))
    return Schedule(chunks, micro_batches, orders)
