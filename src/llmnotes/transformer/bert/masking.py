"""Hide some tokens of a text and ask for them: BERT's training task.

    inputs = the text as the model sees it
    labels = the tokens it is asked for; -100 wherever it is asked nothing
    share  = part of the tokens that are asked for (0.15)

Of those, 80 % become [MASK], 10 % a random token, and 10 % stay as they are.

Sources
- Devlin et al. 2018, "BERT", arXiv 1810.04805, §3.1 and appendix A.1.
- Taylor 1953, "Cloze Procedure": the task, as a test of readability.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from llmnotes.checks import check_sizes

UNASKED = -100  # what PyTorch's cross_entropy leaves out of its mean
MASKED, REPLACED = 0.8, 0.1  # the rest of the chosen stay as they are


def hide(
    ids: Int[Tensor, "batch length"],
    *,
    mask_id: int,
    vocab_size: int,
    never: Sequence[int] = (),
    share: float = 0.15,
    seed: int,
    step: int,
) -> tuple[Int[Tensor, "batch length"], Int[Tensor, "batch length"]]:
    """Inputs and labels, a pure function of the arguments.

    Each token is chosen with chance `share`, those in `never` not at all;
    random tokens are drawn from 0..vocab_size-1.

    Raises `ValueError` unless 0 < share <= 1, and for sizes that cannot be.

    Source: Devlin et al. 2018, A.1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share: got {share}, expected 0 < share <= 1")
    check_sizes(vocab_size=vocab_size)
    check_sizes(0, mask_id=mask_id)
    bits = random_bits((3, *ids.shape), seed, step)
    choice, kind = uniform(bits[0]), uniform(bits[1])
    chosen = (choice < share) & ~torch.isin(ids, torch.tensor([*never, -1]))
    drawn = torch.from_numpy((bits[2] % np.uint64(vocab_size)).astype("i8"))
    inputs = torch.where(chosen & (kind < MASKED), mask_id, ids)
    swapped = chosen & (kind >= MASKED) & (kind < MASKED + REPLACED)
    inputs = torch.where(swapped, drawn, inputs)
    return inputs, torch.where(chosen, ids, UNASKED)


def random_bits(shape: tuple[int, ...], seed: int, step: int) -> np.ndarray:
    """64 random bits each, a pure function of shape, seed and step.

    The counter starts far from `data.batch`'s, which has the same key: the
    place a text is cut at must not say what is hidden in it.
    """
    philox = np.random.Philox(counter=[0, 0, 0, 1], key=[seed, step])
    return philox.random_raw(int(np.prod(shape))).reshape(shape)


def uniform(bits: np.ndarray) -> Float[Tensor, "*shape"]:
    """Numbers from 0 to below 1 from the 53 highest of 64 bits."""
    return torch.from_numpy((bits >> np.uint64(11)) * 2.0**-53)
