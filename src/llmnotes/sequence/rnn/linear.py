"""A recurrence without a nonlinearity: its steps can be combined in pairs.

    h_t = keep_t ∘ h_{t-1} + add_t   (∘: element by element)
    round = one pass over all positions; after round k each has taken in 2^k

Sources
- Hillis & Steele 1986, "Data Parallel Algorithms", Communications of the
  ACM 29(12): all sums of a row of numbers in rounds.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def linear_scan(
    keep: Float[Tensor, "batch length hidden"],
    add: Float[Tensor, "batch length hidden"],
) -> Float[Tensor, "batch length hidden"]:
    """h_t = keep_t ∘ h_{t-1} + add_t from h_0 = 0, in ⌈log₂ length⌉ rounds.

    Two steps in a row are again such a step, with keep·keep' in the place of
    keep. After round k every position has taken in 2^k steps.
    """
    reach, length = 1, keep.shape[1]
    while reach < length:
        before = F.pad(add, (0, 0, reach, 0))[:, :length]
        add = add + keep * before
        keep = keep * F.pad(keep, (0, 0, reach, 0), value=1.0)[:, :length]
        reach *= 2
    return add
