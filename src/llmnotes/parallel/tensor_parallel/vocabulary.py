r"""The vocabulary split over ranks: embedding, logits and cross-entropy.

    vocab    = V; a rank holds the rows of V/t tokens, or one more
    first    = the first token of a rank
    logits   = those of its own tokens, (batch, length, V/t)
    targets  = tokens as integers; -100 does not count

    loss = ln Σ exp(l) − l_target     gradient = softmax(l) − [target]

The sum runs over all ranks and the target is on one of them: two numbers a
token are enough, where the logits would be V of them. No token is padded:
a row that belongs to nobody would have its place in the sum.

Sources
- Shoeybi et al. 2019, arXiv 1909.08053, §3, last paragraphs.
"""

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import Function

from llmnotes.checks import check_within, checked, seen
from llmnotes.parallel.tensor_parallel.layouts import Split, take
from llmnotes.precision import wide

IGNORED = -100


def tokens_of(vocab: int, rank: int, ranks: int) -> range:
    """The tokens whose rows a rank holds; raises where it would have none."""
    if not 1 <= ranks <= vocab:
        raise ValueError(
            f"ranks: got {ranks}, expected 1 to vocab = {vocab}: every rank "
            "holds a token"
        )
    least, more = divmod(vocab, ranks)
    first = rank * least + min(rank, more)
    return range(first, first + least + (rank < more))


class Embedding(nn.Module):
    """A rank's rows of a table; a token that it lacks is 0, and the sum all.

    What it returns has left the split region.
    """

    def __init__(self, dense: nn.Embedding, ways):
        super().__init__()
        self.ways, self.layout = ways, {"weight": Split(0)}
        self.own = tokens_of(dense.num_embeddings, ways.rank, ways.ranks)
        take(self, dense, ways.rank, ways.ranks)

    def forward(
        self, ids: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "batch piece d_model"]:
        """Rows of the tokens, with `Pieces` those of this rank's tokens."""
        place, mine = places(ids, self.own)
        rows = self.weight[place].masked_fill(~mine[..., None], 0)
        return self.ways.leave(rows)


def places(ids: Tensor, own: range) -> tuple[Tensor, Tensor]:
    """Rows of ids in a rank's part, and which are there; else row 0."""
    mine = (ids >= own.start) & (ids < own.stop)
    return (ids - own.start).masked_fill(~mine, 0), mine


class CrossEntropy(Function):
    """The loss of every token; no rank sees another's logits."""

    @staticmethod
    def forward(ctx, logits, targets, own, group):
        """−ln softmax at the targets: three numbers a token are reduced."""
        top = logits.max(-1).values
        dist.all_reduce(top, dist.ReduceOp.MAX, group=group)
        exp = (logits - top[..., None]).exp()
        place, mine = places(targets, own)
        found = logits.gather(-1, place[..., None])[..., 0] - top
        sums = torch.stack([exp.sum(-1), found.masked_fill(~mine, 0)])
        dist.all_reduce(sums, group=group)
        counts = targets != IGNORED
        ctx.save_for_backward(exp / sums[0, ..., None], place, mine, counts)
        return (sums[0].log() - sums[1]).masked_fill(~counts, 0)

    @staticmethod
    def backward(ctx, gradient):
        """On each rank softmax − [target], for its own tokens."""
        chances, place, mine, counts = ctx.saved_tensors
        hot = mine.to(chances.dtype)[..., None]
        found = chances.scatter_add(-1, place[..., None], -hot)
        gradient = gradient.masked_fill(~counts, 0)
        return found * gradient[..., None], None, None, None


@checked
def cross_entropy(
    logits: Float[Tensor, "... part"],
    targets: Int[Tensor, "..."],
    vocab: int,
    group=None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy, as F.cross_entropy of all logits side by side.

    In float32 or more. Every rank gets the same number, and the gradient of
    its own logits. Without a target that counts it is NaN, as PyTorch's.

    Raises `ValueError` for logits that are not this rank's share of `vocab`,
    and for targets beyond it.
    """
    rank, ranks = dist.get_rank(group), dist.get_world_size(group)
    own = tokens_of(vocab, rank, ranks)
    if logits.shape[-1] != len(own):
        raise ValueError(
            f"logits: got {logits.shape[-1]} tokens, expected {len(own)}: "
            f"rank {rank}'s share of vocab = {vocab} on {ranks} ranks"
        )
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"targets: got shape {tuple(targets.shape)}, expected that of "
            f"logits without the last axis: {tuple(logits.shape[:-1])}"
        )
    counts = targets != IGNORED
    if seen(targets):
        check_within(0, vocab - 1, targets=targets[counts])
    each = CrossEntropy.apply(wide(logits), targets.long(), own, group)
    return each.sum() / counts.sum()
