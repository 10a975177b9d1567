"""ZeRO-3: weights are cut too, and whole only while their unit computes.

    unit     = a module's own weights; what is in no module's is the model's
    gather   = make a unit whole, by an all-gather
    stand-in = what a weight is meanwhile: one NaN, stretched to its shape
    note     = what autograd keeps for backward in place of a weight

Autograd would keep every weight that backward needs, whole. So it is handed a
note, which says where in its unit the weight lies, and when it asks for the
weight, the unit is gathered again.

Sources
- Rajbhandari et al. 2019, "ZeRO", arXiv 1910.02054, §5.3 (P_os+g+p), §7.2.2.
"""

import functools
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from llmnotes.parallel.data_parallel.memory import tensors
from llmnotes.parallel.zero.flat import all_gather, blocks, units
from llmnotes.parallel.zero.gradients import ShardedGradients
from llmnotes.parallel.zero.optimizer import Unit, wide


class Note(NamedTuple):
    """Where a weight lies, for when it is needed again."""

    unit: Unit
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


class ShardedParameters(ShardedGradients):
    """Stage 3. As stage 2; a weight outside its unit's forward is NaN.

    Frozen weights are cut, too. All ranks run the same modules in the same
    order.
    """

    stage = 3

    def cut(self, modules) -> list[Unit]:
        """As stage 2, and units of frozen weights beside them."""
        chosen = blocks(self.model) if modules is None else list(modules)
        found = super().cut(chosen)
        home = {n: unit for unit in found for n in unit.weights}
        self.live: dict[int, Unit] = {}  # gathered ones, by their storage
        for module, named in units(self.model, chosen):
            own = {home[n]: None for n in named if n in home}
            still = {n: p for n, p in named.items() if n not in home}
            if still:
                frozen = Unit(still, self.ranks)
                self.keep(frozen)
                own[frozen] = None
            self.attend(module, list(own))
        return found

    def lay(self, unit: Unit) -> None:
        """Keep the shard, let the rest go."""
        self.keep(unit)
        unit.master = wide(unit.own)

    def keep(self, unit: Unit) -> None:
        """Keep this rank's shard, in memory of its own."""
        whole = unit.new(unit.padded)
        for name, view in unit.views(whole).items():
            view.copy_(unit.weights[name].detach())
        dist.broadcast(whole, 0)
        unit.own = unit.part(whole, self.rank).clone()
        self.let_go(unit)

    def gather(self, unit: Unit) -> None:
        """Make a unit's weights whole, unless they are."""
        if unit.whole is None:
            unit.whole = unit.new(unit.padded, torch.empty)
            all_gather(unit.whole, unit.own)
            self.live[storage(unit.whole)] = unit
            for name, view in unit.views(unit.whole).items():
                unit.weights[name].data = view

    def let_go(self, unit: Unit) -> None:
        """Free a unit's whole weights; stand-ins take their place."""
        if unit.whole is not None:
            del self.live[storage(unit.whole)]
        unit.whole = None
        number = torch.nan if unit.dtype.is_floating_point else 0
        nothing = unit.new(1).fill_(number)
        for p in unit.weights.values():
            p.data = nothing.expand(p.shape)

    def attend(self, module: nn.Module, own: list[Unit]) -> None:
        """Be there when a module computes, forward and backward."""

        def before(module, args, kwargs):
            for unit in own:
                self.gather(unit)
            for x in tensors((args, kwargs)):
                if x.requires_grad:  # its gradient: backward has left
                    x.register_hook(functools.partial(leave, own))

        def after(module, args, out):
            for unit in own:
                self.let_go(unit)
            for x in tensors(out):
                if x.requires_grad:  # its gradient: backward comes here
                    x.register_hook(functools.partial(enter, own))

        def enter(own, gradient):
            for unit in own:
                self.gather(unit)

        def leave(own, gradient):
            for unit in own:
                self.let_go(unit)

        if module is self.model:
            notes = saved_tensors_hooks(self.note, self.look_up)
            module.register_forward_pre_hook(lambda *_: notes.__enter__())
            module.register_forward_hook(
                lambda *_: notes.__exit__(), always_call=True
            )
        module.register_forward_pre_hook(before, with_kwargs=True)
        module.register_forward_hook(after, always_call=True)

    def note(self, x: Tensor) -> Tensor | Note:
        """What autograd keeps: a note if it is a weight's memory."""
        unit = self.live.get(storage(x))
        if unit is None:
            return x
        return Note(unit, x.shape, x.stride(), x.storage_offset())

    def look_up(self, kept: Tensor | Note) -> Tensor:
        """What autograd gets back."""
        if isinstance(kept, Tensor):
            return kept
        self.gather(kept.unit)
        return kept.unit.whole.as_strided(kept.size, kept.stride, kept.offset)

    def take(self, unit: Unit, name: str, p: nn.Parameter) -> None:
        """As stage 2; a unit with all its gradients needs no weights."""
        full = unit.missing <= {name}
        super().take(unit, name, p)
        if full:
            self.let_go(unit)

    def finish(self) -> None:
        """Backward is over: nothing is whole any more."""
        super().finish()
        for unit in list(self.live.values()):
            self.let_go(unit)

    def share(self) -> None:
        """Nobody is told: whoever needs a weight gathers it."""
        for unit in self.units:
            self.narrow(unit)


def storage(x: Tensor) -> int:
    """What names the memory under a tensor while it lives."""
    return x.untyped_storage()._cdata
