"""What ZeRO says a rank holds and sends.

    Ψ      = numbers of a model's parameters, `parameters`
    N      = ranks, N_d in the paper
    K      = bytes of the optimizer's states per number, `states`
    stage  = how much is cut into N shards: 0 nothing, 1 the states (P_os),
             2 gradients too (P_os+g), 3 weights too (P_os+g+p)
    k      = micro-batches, whose gradients are added up before a step

In the paper's mixed precision a number is 2 bytes of weight, 2 of gradient
and K = 12: a copy of the weight and Adam's two moments, 4 bytes each. Adam in
plain float32 is 4 + 4 + 8, which is 16 as well, and another 16.

Sources
- Rajbhandari et al. 2019, "ZeRO", arXiv 1910.02054, §3.1, §5, §7, figure 1.
"""

from fractions import Fraction
from numbers import Rational

STAGES = range(4)
# Bytes per number: what our classes hold with Adam in float32.
FLOAT32 = {"weights": 4, "gradients": 4, "states": 8}


def memory(
    parameters: int,
    ranks: int,
    stage: int,
    *,
    weights: int = 2,
    gradients: int = 2,
    states: int = 12,
) -> float:
    """Bytes that a rank holds between two steps, without activations.

    Raises `ValueError` for a stage that is not 0 to 3 and for less than one
    rank.

    Source: Rajbhandari et al. 2019, §5.
    """
    check(parameters, ranks, stage)
    parts = (states, 1), (gradients, 2), (weights, 3)
    cut = sum(Fraction(b) for b, first in parts if stage >= first)
    kept = weights + gradients + states - cut
    return float(parameters * (kept + cut / ranks))


def traffic(
    parameters: int, ranks: int, stage: int, micro_batches: int = 1
) -> float:
    """Numbers that leave a rank in one step.

    A reduce-scatter or an all-gather of Ψ numbers sends Ψ(N−1)/N, which the
    paper calls Ψ. Stages 0 and 1 need one of each per step; stage 2 a
    reduce-scatter per micro-batch; stage 3 a reduce-scatter and two
    all-gathers per micro-batch.

    Raises `ValueError` as `memory`, and for less than one micro-batch.

    Source: Rajbhandari et al. 2019, §7.
    """
    check(parameters, ranks, stage)
    if micro_batches < 1:
        raise ValueError(
            f"micro_batches: got {micro_batches}, expected at least 1"
        )
    rounds = (2, 2, micro_batches + 1, 3 * micro_batches)[stage]
    return float(Fraction(parameters) * rounds * (ranks - 1) / ranks)


def fitting(room: int, ranks: int, stage: int, **bytes_: int) -> float:
    """The largest Ψ whose states fit into `room` bytes of each rank.

    `bytes_` are those of `memory`. Source: Rajbhandari et al. 2019, table 2.
    """
    return room / memory(1, ranks, stage, **bytes_)


def check(parameters: int, ranks: int, stage: int) -> None:
    """Raise `ValueError` for what no formula covers."""
    if stage not in STAGES:
        raise ValueError(f"stage: got {stage}, expected 0, 1, 2 or 3")
    if ranks < 1:
        raise ValueError(f"ranks: got {ranks}, expected at least 1")
    if not isinstance(parameters, Rational | float) or parameters < 0:
        raise ValueError(
            f"parameters: got {parameters!r}, expected a number from 0"
        )
