"""A text as rows that are read side by side, and training on them.

    rows    = batch, pieces of the text, each read from its begin to its end
    segment = L, tokens of each row in one step
    step    = which segment; after the last comes the first again

Row b of one step goes on where row b of the step before ended. Batches that
are drawn at random, or shuffled, make a memory of other texts.

Sources
- Dai et al. 2019, "Transformer-XL", arXiv 1901.02860, §3.2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from llmnotes import train
from llmnotes.checks import check_sizes, check_within
from llmnotes.data import Ids, row
from llmnotes.models.transformer_xl.memory import Memory
from llmnotes.models.transformer_xl.model import TransformerXL
from llmnotes.modes import evaluating
from llmnotes.train_config import TrainConfig

Segment = tuple[Int[Tensor, "batch length"], Int[Tensor, "batch length"]]


@dataclass(frozen=True, eq=False)
class Streams:
    """Token numbers in `batch` rows, cut into segments.

    What is too little for a whole segment in every row is left out at the
    end. Raises `ValueError` if there is none at all.
    """

    ids: Ids
    batch: int
    segment: int

    def __post_init__(self):
        check_sizes(batch=self.batch, segment=self.segment)
        object.__setattr__(self, "ids", row("ids", self.ids))
        if len(self.ids) <= self.batch * self.segment:
            raise ValueError(
                f"ids: got {len(self.ids)} tokens, expected at least "
                f"{self.batch * self.segment + 1}: {self.batch} rows of "
                f"{self.segment} and the token after them"
            )

    def __len__(self) -> int:
        """How many segments each row has."""
        return (len(self.ids) - 1) // (self.batch * self.segment)

    def at(self, step: int) -> Segment:
        """Tokens of a step and, as targets, the tokens after them.

        Raises `ValueError` for a step that cannot be.
        """
        check_sizes(0, step=step)
        long = len(self) * self.segment
        start = step % len(self) * self.segment
        read, follow = (
            self.ids[i : i + self.batch * long].view(self.batch, long)
            for i in (0, 1)
        )
        piece = slice(start, start + self.segment)
        return read[:, piece], follow[:, piece]

    def begins(self, step: int) -> bool:
        """Whether the rows begin anew: time for a new memory."""
        check_sizes(0, step=step)
        return step % len(self) == 0


def fit_streams(
    model: TransformerXL, streams: Streams, config: TrainConfig, mem_len: int
) -> list[float]:
    """Train in place, segment after segment; the losses, in nats.

    Of the config counts what says how to step: steps, rates, decay, clip.

    Raises `ValueError`, before a step is taken, for ids beyond the vocabulary
    and for a mem_len that cannot be.
    """
    check_within(0, model.config.vocab_size - 1, ids=streams.ids)
    check_sizes(0, mem_len=mem_len)
    optimizer, losses = train.adamw(model, config), []
    model.train()
    for step in range(config.steps):
        if streams.begins(step):
            memory = Memory(mem_len)
        ids, targets = streams.at(step)
        loss = F.cross_entropy(model(ids, memory).mT, targets)
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step)
        optimizer.zero_grad()
        loss.backward()
        if config.clip:
            clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def loss_by_position(
    model: TransformerXL, streams: Streams, mem_len: int, skip: int = 0
) -> Float[Tensor, "length"]:
    """Mean loss at each position of a segment, in nats, read once through.

    The first `skip` segments are read and not counted, so that a memory of
    any length can fill.

    Raises `ValueError` if that leaves none.
    """
    check_sizes(0, skip=skip)
    if skip >= len(streams):
        raise ValueError(
            f"skip: got {skip}, expected less than the {len(streams)} "
            "segments of the streams"
        )
    memory, losses = Memory(mem_len), []
    with evaluating(model):
        for step in range(len(streams)):
            ids, targets = streams.at(step)
            logits = model(ids, memory)
            loss = F.cross_entropy(logits.mT, targets, reduction="none")
            losses.append(loss.mean(0))
    return torch.stack(losses[skip:]).mean(0)
