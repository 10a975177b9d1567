"""How large a checkpoint is, and how often one is worth its time.

    interval = τ, seconds of work from one checkpoint to the next
    cost     = δ, seconds for which training stands still at each
    between  = M, mean seconds from one failure to the next

Sources
- Young 1974, "A first order approximation to the optimum checkpoint
  interval", Communications of the ACM 17(9).
- Daly 2006, "A higher order estimate of the optimum checkpoint interval for
  restart dumps", Future Generation Computer Systems 22: the exact share.
- Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on
  GPU Clusters Using Megatron-LM", arXiv:2104.04473, §5.10: sizes.
"""

import math
import random

MIXED = {"bf16 weight": 2, "fp32 weight": 4, "two fp32 moments": 8}
SINGLE = {"fp32 weight": 4, "two fp32 moments": 8}


def checkpoint_bytes(parameters: float, kept: dict[str, int]) -> float:
    """Bytes of a checkpoint that keeps these bytes of each parameter."""
    return parameters * sum(kept.values())


def mean_between(days: float, failures: int) -> float:
    """M in seconds: a time of days by the failures in it."""
    return days * 86_400 / failures


def best_interval(cost: float, between: float) -> float:
    """Young's √(2δM), in seconds."""
    for name, seconds in (("cost", cost), ("between", between)):
        if not 0 < seconds < math.inf:
            raise ValueError(f"{name}: got {seconds}, expected above 0")
    return math.sqrt(2 * cost * between)


def lost_share(interval: float, cost: float, between: float) -> float:
    """Young's share of time lost: δ/τ for saving, τ/2M for doing again."""
    return cost / interval + interval / (2 * between)


def lost_exactly(interval: float, cost: float, between: float) -> float:
    """The same for failures at random (exponential), without restart time.

    An interval is finished after M(e^((τ+δ)/M) − 1) seconds, on average.
    """
    needed = between * math.expm1((interval + cost) / between)
    return 1 - interval / needed


def simulated(
    interval: float, cost: float, between: float, intervals: int, seed: int
) -> float:
    """Share of time lost by a run of that many intervals that fails."""
    draw = random.Random(seed)
    clock, done, fails = 0.0, 0, draw.expovariate(1 / between)
    while done < intervals:
        ends = clock + interval + cost
        if fails < ends:  # back to the last checkpoint
            clock = fails
            fails += draw.expovariate(1 / between)
        else:
            clock, done = ends, done + 1
    return 1 - intervals * interval / clock
