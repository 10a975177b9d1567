r"""What recomputing costs: FLOPs of a layer's products, and of those redone.

    F           = 24bsh² + 4bs²h, the products of one layer forward
    step        = 3F: backward makes two products for each of forward's
    full        = + F        all again
    selective   = + 4bs²h    QKᵀ and the product with V again
    early stop  = the recompute ends when all that backward needs is there

Sources
- Korthikanti et al. 2022, arXiv 2205.05198, §5 and appendix A.
- Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on GPU
  Clusters Using Megatron-LM", arXiv 2104.04473, §5.1: 96bsh²L(…) with full
  recompute.
"""

from fractions import Fraction

from llmnotes.checks import check_sizes

CORE = "scores", "mixture"
# What is made again. The last product of a region is the one whose result
# nobody inside needs: an early stop saves it.
REDONE = {
    "nothing": (),
    "selective": CORE,
    "selective, early stop": CORE[:1],
    "full": ("qkv", *CORE, "projection", "up", "down"),
    "full, early stop": ("qkv", *CORE, "projection", "up"),
}


def products(batch: int, length: int, hidden: int) -> dict[str, int]:
    """FLOPs of each product of a layer, forward."""
    check_sizes(batch=batch, length=length, hidden=hidden)
    weight = 2 * batch * length * hidden**2  # one (h, h) matrix
    scores = 2 * batch * length**2 * hidden
    return {
        "qkv": 3 * weight,
        "scores": scores,
        "mixture": scores,
        "projection": weight,
        "up": 4 * weight,
        "down": 4 * weight,
    }


def forward_flops(batch: int, length: int, hidden: int) -> int:
    """F = 24bsh² + 4bs²h."""
    return sum(products(batch, length, hidden).values())


def recomputed_flops(batch: int, length: int, hidden: int, what: str) -> int:
    """FLOPs that a layer's recompute adds to a step; `what` as in REDONE.

    Raises `ValueError` for another `what`.
    """
    if what not in REDONE:
        raise ValueError(f"what: got {what!r}, expected one of {[*REDONE]}")
    made = products(batch, length, hidden)
    return sum(made[name] for name in REDONE[what])


def step_flops(batch: int, length: int, hidden: int, what: str) -> int:
    """FLOPs of a layer's forward, backward and recompute."""
    again = recomputed_flops(batch, length, hidden, what)
    return 3 * forward_flops(batch, length, hidden) + again


def overhead(
    length: int, hidden: int, layers: int, vocab: int, what: str
) -> float:
    """The recompute's FLOPs over those of a model's step, logits included.

    The step is 72bsh²L(1 + s/6h + V/12hL).
    """
    check_sizes(layers=layers, vocab=vocab)
    again = layers * recomputed_flops(1, length, hidden, what)
    step = 3 * layers * forward_flops(1, length, hidden)
    return float(Fraction(again, step + 6 * length * hidden * vocab))


def published_overhead(
    length: int, hidden: int, layers: int, vocab: int
) -> float:
    """(1 + s/3h + V/12hL) / (1 + s/6h + V/12hL) − 1, Korthikanti's ratio.

    It adds 12bs²h for each layer: attention's core three times, where
    recomputing it once adds 4bs²h.
    """
    check_sizes(length=length, hidden=hidden, layers=layers, vocab=vocab)
    head = Fraction(vocab, 12 * hidden * layers)
    hardware = 1 + Fraction(length, 3 * hidden) + head
    return float(hardware / (1 + Fraction(length, 6 * hidden) + head) - 1)
