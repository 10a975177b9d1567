"""ZeRO-1: every rank moves its shard of the weights, then all share them.

    Ψ      = numbers of the model's weights; N = ranks
    unit   = weights that travel together, as one flat vector
    master = a float32 copy of the shard, where weights have fewer bits

A step is a reduce-scatter of gradients (each rank gets the sum of its shard),
the optimizer on that shard, and an all-gather of weights: together what an
all-reduce sends. Adam's moments exist for the shard only.

Sources
- Rajbhandari et al. 2019, "ZeRO", arXiv 1910.02054, §5.1 (P_os), §7.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from llmnotes.parallel.zero import state
from llmnotes.parallel.zero.flat import (
    Flat,
    Piece,
    all_gather,
    reduce_scatter,
    units,
)

Make = Callable[[list[nn.Parameter]], Optimizer]
# They move each number by its own gradient, whatever stands beside it.
ALONE = (
    torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam,
    torch.optim.RAdam, torch.optim.Adamax, torch.optim.Adagrad,
    torch.optim.Adadelta, torch.optim.RMSprop, torch.optim.Rprop,
    torch.optim.ASGD,
)  # fmt: skip


class Unit(Flat):
    """A flat vector and what this rank holds of it."""

    whole: Tensor | None = None  # all weights; the model's are views of it
    own: Tensor  # this rank's shard of them
    master: Tensor  # the same, in at least float32; `own` itself if it is
    total: Tensor | None = None  # this rank's gradients of all weights
    gradient: Tensor | None = None  # of the shard, summed over ranks
    places: dict[str, Tensor]  # each weight's part of `total`
    missing: set[str]  # weights whose gradient this backward has not found


class ShardedOptimizer:
    """Stage 1: the optimizer's states are cut, weights and gradients whole.

    make: (parameters) -> a torch optimizer over the model's own parameters,
        in any groups; it is given all that require gradients. Each group then
        holds what this rank has of its weights, so a rate or a weight decay
        of a group stays that group's.
    modules: parts of the model that become units of their own.

    Gradients are **summed** over ranks: divide each rank's loss by what all
    ranks have together. `clip` goes before `step` and replaces
    `clip_grad_norm_`. All ranks begin with the weights of rank 0.

    Raises `ValueError` for an optimizer that leaves a parameter out, has one
    that is not the model's, or does not treat each number alone, and for a
    model that is another one on another rank.
    """

    stage = 1

    def __init__(
        self,
        model: nn.Module,
        make: Make,
        modules: Sequence[nn.Module] | None = None,
    ):
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        self.model, self.summed = model, False
        state.check_same(dict(model.named_parameters()), self.ranks)
        self.trained = {
            n: p for n, p in model.named_parameters() if p.requires_grad
        }
        optimizer = make(list(self.trained.values()))
        check(optimizer, self.trained)
        self.units = self.cut(modules)
        for unit in self.units:
            self.lay(unit)
        self.pieces = dict(self.shards())
        self.used: set[str] = set()
        self.optimizer = self.take_over(optimizer)
        for unit in self.units:
            self.listen(unit)

    def cut(self, modules) -> list[Unit]:
        """The units of trained weights; all in one where nobody asks."""
        return [unit for _, unit in self.divided(modules or ())]

    def divided(self, modules) -> list[tuple[nn.Module, Unit]]:
        """Whose trained weights travel together; the model's own are last."""
        found = []
        for module, named in units(self.model, list(modules)):
            own = {n: p for n, p in named.items() if n in self.trained}
            if own:
                found.append((module, Unit(own, self.ranks)))
        return found

    def lay(self, unit: Unit) -> None:
        """Put weights and gradients into vectors; the model keeps views."""
        unit.whole, unit.total = unit.new(unit.padded), unit.new(unit.padded)
        for name, view in unit.views(unit.whole).items():
            view.copy_(unit.weights[name].detach())
            unit.weights[name].data = view
        dist.broadcast(unit.whole, 0)
        unit.own = unit.part(unit.whole, self.rank)
        unit.master = wide(unit.own)
        unit.gradient = unit.part(unit.total, self.rank)

    def shards(self) -> Iterator[tuple[str, tuple[Unit, Piece, Any]]]:
        """What the optimizer moves here: a piece of a weight each."""
        for unit in self.units:
            for piece in unit.pieces(self.rank):
                part = nn.Parameter(unit.master[piece.shard])
                yield piece.name, (unit, piece, part)

    def take_over(self, optimizer: Optimizer) -> Optimizer:
        """Give each group of the optimizer the pieces of its weights."""
        names = {p: name for name, p in self.trained.items()}
        for group in optimizer.param_groups:
            mine = [names[p] for p in group["params"]]
            group["params"] = [
                self.pieces[n][2] for n in mine if n in self.pieces
            ]
        return optimizer

    def listen(self, unit: Unit) -> None:
        """Let gradients be added up in the unit's own vector."""
        unit.places = unit.views(unit.total)
        for name, view in unit.places.items():
            p = unit.weights[name]
            p.grad = view

            def arrived(p, name=name, view=view):
                self.check_fresh()
                self.used.add(name)
                if p.grad is not view:  # somebody has set it to None
                    view.copy_(p.grad)
                    p.grad = view

            p.register_post_accumulate_grad_hook(arrived)

    def check_fresh(self) -> None:
        """Raise `RuntimeError` for gradients on top of those of a step."""
        if self.summed:
            raise RuntimeError(
                "backward: got gradients on top of summed ones, expected "
                "zero_grad() after a step"
            )

    @property
    def param_groups(self) -> list[dict]:
        """The groups, to change a rate in."""
        return self.optimizer.param_groups

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.summed, self.used = False, set()
        for unit in self.units:
            unit.total.zero_()

    def sum_up(self) -> None:
        """Sum gradients over ranks, each rank its shard; once per step."""
        if self.summed:
            return
        for unit in self.units:
            for name, view in unit.places.items():
                if unit.weights[name].grad is not view:  # None: forgotten
                    view.zero_()
                    unit.weights[name].grad = view
                    self.used.discard(name)
            reduce_scatter(unit.gradient, unit.total)
        self.summed = True

    def clip(self, limit: float) -> float:
        """Make the norm of all gradients at most `limit`; returns it before.

        Each rank adds up the squares of its shard; the sums are summed.
        """
        self.sum_up()
        parts = [unit.gradient for unit in self.units]
        norms = torch.stack(
            [torch.linalg.vector_norm(g, dtype=torch.float64) for g in parts]
        )
        square = norms.square().sum()
        dist.all_reduce(square)
        norm = float(square.sqrt())
        shrink = limit / (norm + 1e-6)
        for g in parts:
            g.mul_(1.0 if shrink >= 1 else shrink)  # NaN: all become NaN
        return norm

    @torch.no_grad()
    def step(self) -> None:
        """Sum gradients if `clip` has not, move the shard, share weights."""
        self.sum_up()
        used = self.used_anywhere()
        for name, (unit, piece, part) in self.pieces.items():
            if name in used:
                part.grad = self.bring(unit.gradient[piece.shard], part)
        self.optimizer.step()
        for _, _, part in self.pieces.values():
            part.grad = None
        self.share()

    def bring(self, gradient: Tensor, part: Tensor) -> Tensor:
        """A piece's gradient as the optimizer wants it."""
        return gradient.to(part.dtype)

    def used_anywhere(self) -> set[str]:
        """Weights that had a gradient on some rank: the others stay."""
        names = list(self.trained)
        flags = torch.tensor(
            [name in self.used for name in names],
            dtype=torch.uint8, device=self.units[0].device,
        )  # fmt: skip
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return {
            n for n, flag in zip(names, flags.tolist(), strict=True) if flag
        }

    def share(self) -> None:
        """Give all ranks the weights that this one has moved."""
        for unit in self.units:
            self.narrow(unit)
            all_gather(unit.whole, unit.own)

    def narrow(self, unit: Unit) -> None:
        """Round the master copy to the weights' own bits, if there is one."""
        if unit.master is not unit.own:
            unit.own.copy_(unit.master.to(unit.own.dtype))

    def gathered(self) -> dict[str, dict[str, Any]]:
        """The optimizer's whole state: {weight: {moment: tensor}}.

        The same on every rank, and the same for any number of ranks; a
        weight that was never moved has none.
        """
        return state.gathered(self)

    def scatter(self, found: dict[str, dict[str, Any]]) -> None:
        """Take this rank's part of what `gathered` gave, on any ranks.

        Raises `ValueError` for a weight that is not trained here and for a
        moment of another shape.
        """
        state.scatter(self, found)

    def weights(self) -> dict[str, Tensor]:
        """All trained weights, whole, as the optimizer knows them.

        Where there is a master copy it is that, float32.
        """
        return state.weights(self)

    def load(self, found: dict[str, Tensor]) -> None:
        """Take weights that `weights` gave, on any number of ranks.

        Raises `ValueError` for missing or unknown names and other shapes.
        """
        state.load(self, found)
        self.share()


def wide(own: Tensor) -> Tensor:
    """The shard in at least float32: itself, or a copy."""
    dtype = torch.promote_types(own.dtype, torch.float32)
    return own if dtype == own.dtype else own.to(dtype)


def check(optimizer: Optimizer, trained: dict[str, nn.Parameter]) -> None:
    """Raise `ValueError` unless the optimizer can be cut."""
    if not isinstance(optimizer, ALONE):
        raise ValueError(
            f"make: got {type(optimizer).__name__}, expected an optimizer "
            "that moves each number by its own gradient, such as AdamW: a "
            "shard has no rows and columns"
        )
    moved = [p for group in optimizer.param_groups for p in group["params"]]
    known = set(trained.values())
    if strange := [p for p in moved if p not in known]:
        raise ValueError(
            f"make: got a parameter of shape {tuple(strange[0].shape)} that "
            "is not this model's or needs no gradient, expected those that "
            "it was given"
        )
    if left := [n for n, p in trained.items() if p not in set(moved)]:
        raise ValueError(
            f"make: got an optimizer without {left[0]}, expected all that "
            "require gradients; freeze what is not to be moved"
        )
