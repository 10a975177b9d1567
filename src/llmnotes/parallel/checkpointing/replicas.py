"""Replicas compared: which rank holds other bits than the others.

Ranks that hold the same weights hold the same bits, as long as all compute
the same. A bit that memory or a core has turned over spreads with the next
all-reduce; a hash of each tensor, told to the others, finds it before.

Sources
- Dixit et al. 2021, "Silent Data Corruptions at Scale", arXiv:2102.11245.
"""

from collections import Counter
from collections.abc import Mapping
from hashlib import sha256

import torch
from torch import Tensor

from llmnotes.parallel.checkpointing.checkpoints import as_bytes
from llmnotes.parallel.checkpointing.meeting import Meeting


def fingerprint(tensor: Tensor) -> str:
    """A sha256 of type, shape and bits."""
    row = tensor.detach().contiguous().view(-1)
    head = f"{tensor.dtype} {tuple(tensor.shape)} ".encode()
    return sha256(head + as_bytes(row)).hexdigest()


def compare(tensors: Mapping[str, Tensor], meeting: Meeting) -> None:
    """Raise `RuntimeError` for a tensor of which ranks hold other bits.

    It names the first such tensor, and the ranks: those that are fewer.
    """
    mine = {name: fingerprint(x) for name, x in tensors.items()}
    told = meeting.exchange("compare replicas", mine)
    for name in dict.fromkeys(name for one in told for name in one):
        prints = [one.get(name) for one in told]
        most, _ = Counter(prints).most_common(1)[0]
        others = [r for r, found in enumerate(prints) if found != most]
        if others:
            raise RuntimeError(
                f"{name}: got other bits on rank "
                f"{', '.join(map(str, others))} than on rank "
                f"{prints.index(most)}, expected the same on all ranks"
            )


def flip(tensor: Tensor, number: int, bit: int) -> None:
    """Turn over one bit of a tensor's bytes, as a defect would."""
    row = tensor.detach().view(-1).view(torch.uint8)
    row[number] ^= 1 << bit
