"""Which layers a stage has: all of them somewhere, none of them twice.

    layers = L        stages = pv

`layers // stages` for each stage loses what is left over, and nothing says
so: a model of 30 layers on 4 stages then has 28. It runs and learns.
"""

from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.transformer.gpt import GPT


def share_out(layers: int, stages: int) -> list[int]:
    """How many layers each stage has: as equal as can be, the first more.

    Raises `ValueError` if a stage would have none.
    """
    if not 1 <= stages <= layers:
        raise ValueError(
            f"stages: got {stages}, expected 1 to {layers}, as there are "
            f"{layers} layers"
        )
    each, more = divmod(layers, stages)
    return [each + (stage < more) for stage in range(stages)]


class Entrance(nn.Module):
    """What stands before the first block: ids become vectors."""

    def __init__(self, model: GPT):
        super().__init__()
        parts = model.transformer
        self.wte, self.wpe, self.drop = parts.wte, parts.wpe, parts.drop

    def forward(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length d_model"]:
        """Return token and place, added up."""
        place = torch.arange(ids.shape[1], device=ids.device)
        return self.drop(self.wte(ids) + self.wpe(place))


class Exit(nn.Module):
    """What stands after the last block: a norm, and the embedding again."""

    def __init__(self, model: GPT):
        super().__init__()
        self.ln_f, self.wte = model.transformer.ln_f, model.transformer.wte

    def forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length vocab"]:
        """Return the logits of every next token."""
        return F.linear(self.ln_f(x), self.wte.weight)


def cut(model: GPT, stages: int) -> list[nn.Sequential]:
    """A GPT in pieces, which share its parameters.

    The first has the embeddings, the last the head. They share the token
    embedding: in one process it is one tensor, in two it is two (`Tie`).

    Raises `ValueError` for more stages than blocks.
    """
    blocks = list(model.transformer.h)
    ends = [0, *accumulate(share_out(len(blocks), stages))]
    parts = [blocks[start:end] for start, end in pairwise(ends)]
    parts[0].insert(0, Entrance(model))
    parts[-1].append(Exit(model))
    return [nn.Sequential(*part) for part in parts]
