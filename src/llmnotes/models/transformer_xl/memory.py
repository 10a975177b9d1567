r"""What a segment leaves to the next: the inputs of every layer.

    mem_len   = M, how many tokens are remembered
    states[n] = what layer n was given for them, (batch, kept, d_model)
    filled[b] = how many of the kept ones row b may see, from the newest on

Hidden states are kept, not keys and values: those are made anew with the
weights of today, which so learn from the memory. The states themselves carry
no gradient.

Sources
- Dai et al. 2019, "Transformer-XL", arXiv 1901.02860, §3.2.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llmnotes.checks import check_sizes


class Memory:
    """The last `mem_len` inputs of each layer, without gradient.

    Empty until the first segment was read; no row of zeros stands in for
    what was not read. Each row of a batch is a text of its own, and stays in
    its row.

    Raises `ValueError` for a mem_len below 0.

    Source: Dai et al. 2019, §3.2.
    """

    def __init__(self, mem_len: int):
        check_sizes(0, mem_len=mem_len)
        self.mem_len = mem_len
        self.states: list[Tensor] = []
        self.filled: list[int] = []

    @property
    def length(self) -> int:
        """How many tokens are kept."""
        return self.states[0].shape[1] if self.states else 0

    def recall(
        self, layers: int, x: Float[Tensor, "batch length d_model"]
    ) -> list[Float[Tensor, "batch kept d_model"]]:
        """What stands before x, for each layer.

        Raises `ValueError` if x has other rows than were read before, or
        comes from a model of another shape.
        """
        if not self.states:
            return [x[:, :0]] * layers
        self.check(layers, x)
        return self.states

    def visible(
        self, seen: Bool[Tensor, "query key"]
    ) -> Bool[Tensor, "... query key"]:
        """The same mask, less what rows that were reset have forgotten."""
        kept = self.length
        if all(filled == kept for filled in self.filled):
            return seen
        column = torch.arange(seen.shape[-1], device=seen.device)
        first = torch.tensor(self.filled, device=seen.device).neg() + kept
        return seen & (column >= first[:, None, None, None])

    def keep(self, inputs: Sequence[Float[Tensor, "batch new d_model"]]):
        """Put the inputs of all layers behind those kept, and forget."""
        if not self.mem_len:
            return
        new = [x.detach() for x in inputs]
        shapes = {tuple(x.shape) for x in new}
        if len(shapes) != 1:
            raise ValueError(
                f"inputs: got shapes {sorted(shapes)}, expected one shape "
                "for all layers"
            )
        old = self.recall(len(new), new[0])
        joined = [torch.cat(pair, 1) for pair in zip(old, new, strict=True)]
        start = max(0, joined[0].shape[1] - self.mem_len)
        filled = self.filled or [0] * len(new[0])
        read = new[0].shape[1]
        # A view would hold what is to be forgotten.
        self.states = [x[:, start:].clone() for x in joined]
        self.filled = [min(n + read, self.length) for n in filled]

    def reset(self, *rows: int) -> None:
        """Forget what these rows have read: other texts begin in them.

        Raises `ValueError` for a row that the batch does not have.
        """
        for row in rows:
            check_sizes(0, row=row)
            if row >= len(self.filled):
                raise ValueError(
                    f"row: got {row}, expected one of the "
                    f"{len(self.filled)} rows that were read"
                )
        for row in rows:
            self.filled[row] = 0

    def check(self, layers: int, x: Tensor) -> None:
        """Raise `ValueError` unless x can go on behind what is kept."""
        kept = self.states[0]
        if len(x) != len(kept):
            raise ValueError(
                f"ids: got a batch of {len(x)}, expected the {len(kept)} rows "
                "whose memory this is; give a new batch a new Memory"
            )
        found = layers, x.shape[-1], x.dtype, x.device
        wanted = len(self.states), kept.shape[-1], kept.dtype, kept.device
        names = "layers", "d_model", "dtype", "device"
        for name, got, expected in zip(names, found, wanted, strict=True):
            if got != expected:
                raise ValueError(
                    f"memory: got {name} {expected}, expected the model's "
                    f"{got}"
                )


def check_memory(memory: object) -> None:
    """Raise `ValueError` for what is no `Memory`."""
    if not isinstance(memory, Memory):
        raise ValueError(
            f"memory: got {type(memory).__name__}, expected a Memory"
        )
