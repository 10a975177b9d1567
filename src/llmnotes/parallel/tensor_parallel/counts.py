r"""What splitting costs, and how large the models are: the papers' formulas.

    layers, hidden, vocab, length = l, h, V, s
    batch, ranks                  = b, t
    parameters  = 12lh² + 13lh + Vh + sh + 2h
    traffic     = 8bsh(t − 1)/t numbers for each layer

Sources
- Shoeybi et al. 2019, "Megatron-LM", arXiv 1909.08053, table 1 and §5.3.
- Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on
  GPU Clusters Using Megatron-LM", arXiv 2104.04473, eq. 2, table 1, §3.2.
"""

from fractions import Fraction

from llmnotes.checks import check_sizes

VOCABULARY = 51200  # GPT-2's 50,257, padded by Megatron

# Megatron-LM: layers and width, and the size in billions as printed.
MEGATRON_1 = {
    "355M": (24, 1024, 0.355),
    "1.2B": (40, 1536, 1.2),
    "2.5B": (54, 1920, 2.5),
    "4.2B": (64, 2304, 4.2),
    "8.3B": (72, 3072, 8.3),
}
MEGATRON_1_LENGTH = 1024

# The second paper's table 1: layers, width, t, and billions as printed.
MEGATRON_2 = {
    "1.7B": (24, 2304, 1, 1.7),
    "3.6B": (30, 3072, 2, 3.6),
    "7.5B": (36, 4096, 4, 7.5),
    "18.4B": (40, 6144, 8, 18.4),
    "39.1B": (48, 8192, 8, 39.1),
    "76.1B": (60, 10240, 8, 76.1),
    "145.6B": (80, 12288, 8, 145.6),
    "310.1B": (96, 16384, 8, 310.1),
    "529.6B": (105, 20480, 8, 529.6),
    "1008.0B": (128, 25600, 8, 1008.0),
}
MEGATRON_2_LENGTH = 2048


def parameters(layers: int, hidden: int, vocab: int, length: int) -> int:
    """Numbers that a GPT learns, its head being its embedding.

    A layer has 4h² + 4h in attention, 8h² + 5h in the MLP and 4h in two
    norms. Eq. 2 of the second paper leaves out the 2h of the last norm.
    """
    check_sizes(layers=layers, hidden=hidden, vocab=vocab, length=length)
    block = 12 * hidden**2 + 13 * hidden
    return layers * block + (vocab + length + 2) * hidden


def traffic(
    batch: int, length: int, hidden: int, ranks: int, layers: int = 1
) -> Fraction:
    """Numbers that leave a rank in the layers of one step: 8bsh(t−1)/t each.

    Two all-reduces forward and two backward, of bsh numbers; a ring sends
    2(t−1)/t of them. The same with sequence parallelism. What is sent once a
    step for embedding, head and loss is not in it.
    """
    check_sizes(
        batch=batch, length=length, hidden=hidden, ranks=ranks, layers=layers
    )
    whole = 8 * batch * length * hidden * layers
    return Fraction(whole * (ranks - 1), ranks)
