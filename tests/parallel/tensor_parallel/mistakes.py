"""What people get wrong, each with the same weights on two ranks.

A mistake that changes no output passes every test of the forward pass.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F

from llmnotes.parallel import tensor_parallel as tp
from llmnotes.transformer import gpt
from tests.parallel.tensor_parallel import dense, split


class WithoutF(tp.Replicated):
    """The input's gradient is a rank's own summand."""

    def enter(self, x):
        """Nothing, either way."""
        return x


class SummedTwice(tp.Replicated):
    """g whose gradient is summed over the ranks again."""

    def leave(self, x):
        """The transpose for a loss that is a sum over ranks."""
        return tp.summed(tp.copied(x))


class NormsAlone(tp.Pieces):
    """Sequence parallelism that leaves a norm's gradient as it is found."""

    def shared(self, parameter):
        """Forget that it is a summand."""
        return parameter


class BiasEverywhere(tp.Row):
    """The bias is in every summand."""

    share = 1.0

    def forward(self, y):
        """Sum over the ranks, biases included."""
        bias = self.bias * self.share
        return self.ways.leave(F.linear(y, self.weight.T) + bias)


class BiasShared(BiasEverywhere):
    """Each rank adds its share of the bias: right forward."""

    share = 0.5


class OneStretch(tp.Attention):
    """Query, key and value cut as if they were one matrix."""

    def __init__(self, whole, ways):
        super().__init__(whole, ways)
        self.c_attn = tp.Column(whole.c_attn, ways)


class RowsFirst(torch.nn.Module):
    """A by rows, B by columns: what is bent is a summand."""

    def __init__(self, whole, ways):
        super().__init__()
        self.ways = ways
        self.c_fc, self.c_proj = RowPart(whole.c_fc, ways), whole.c_proj

    def forward(self, x):
        """The sum of the bent, in place of the bent sum."""
        x = x.tensor_split(self.ways.ranks, -1)[self.ways.rank]
        bent = gpt.gelu(F.linear(x, self.c_fc.weight.T, self.c_fc.bias / 2))
        return self.c_proj(self.ways.leave(bent))


class RowPart(tp.Row):
    """Only the weights of a `Row`."""


def with_bias(kind):
    """An MLP whose second bias is added by `kind`."""

    class Mistaken(tp.MLP):
        def __init__(self, whole, ways):
            super().__init__(whole, ways)
            self.c_proj = kind(whole.c_proj, ways)

    return Mistaken


def beside(cls, ways, name):
    """Relative errors: output, and the gradients of input and parameters."""
    right = dense.through(split.PARTS[name][0]())
    made = cls(split.PARTS[name][0](), ways)
    said, _, _ = split.through(made, ways)
    return {
        key: float((torch.from_numpy(said[key]) - x).abs().max()
                   / x.abs().max())
        for key, x in right.items()
        if key in said and said[key].shape == x.shape
    }  # fmt: skip


def all_of_them():
    """Every mistake: its errors on this rank, and the worst of all ranks."""
    plain = tp.Replicated()
    cases = {
        "none": (tp.MLP, plain, "mlp"),
        "no all-reduce of f": (tp.MLP, WithoutF(), "mlp"),
        "g summed again on the way back": (tp.MLP, SummedTwice(), "mlp"),
        "bias added on every rank": (with_bias(BiasEverywhere), plain, "mlp"),
        "bias / t added on every rank": (with_bias(BiasShared), plain, "mlp"),
        "rows first, then columns": (RowsFirst, plain, "mlp"),
        "fused QKV cut in one stretch": (OneStretch, plain, "attention"),
        "norms' gradients not summed": (tp.Block, NormsAlone(), "block"),
    }
    return {name: worst(beside(*case)) for name, case in cases.items()}


def worst(errors):
    """The largest error of all ranks, output and gradients."""
    gradients = [x for name, x in errors.items()
                 if name not in ("output", "loss")]  # fmt: skip
    found = torch.tensor([errors["output"], max(gradients)])
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()
