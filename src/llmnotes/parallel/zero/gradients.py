"""ZeRO-2: of the gradients, too, every rank keeps its shard only.

    unit  = weights that travel together, by default a layer
    order = units as backward meets them, the last layer first

As soon as backward has found all gradients of a unit they are summed over
ranks, each rank gets its shard of the sum, and the rest is freed. So at no
time are there whole gradients of more than about one unit. The price: with k
micro-batches there are k reduce-scatters, where stage 1 has one.

Sources
- Rajbhandari et al. 2019, "ZeRO", arXiv 1910.02054, §5.2 (P_os+g), §7.2.1.
"""

import torch
from torch import nn

from llmnotes.parallel.zero.flat import blocks, reduce_scatter
from llmnotes.parallel.zero.optimizer import ShardedOptimizer, Unit


class ShardedGradients(ShardedOptimizer):
    """Stage 2. As stage 1; by default each layer of the model is a unit.

    All ranks call backward equally often. Units are summed in one order on
    all ranks, also where a rank has not used a weight.
    """

    stage = 2

    def cut(self, modules) -> list[Unit]:
        """Units in the order in which backward meets them."""
        chosen = blocks(self.model) if modules is None else modules
        found = self.divided(chosen)
        self.waiting: list[Unit] = []  # this backward's, not yet sent
        layers = [unit for module, unit in found if module is not self.model]
        return layers[::-1] + [unit for m, unit in found if m is self.model]

    def lay(self, unit: Unit) -> None:
        """As stage 1, without a vector of all gradients."""
        super().lay(unit)
        unit.total = unit.gradient = None

    def listen(self, unit: Unit) -> None:
        """Take each gradient as it comes."""
        unit.missing = set(unit.weights)
        for name, p in unit.weights.items():

            def arrived(p, name=name):
                self.check_fresh()
                self.take(unit, name, p)

            p.register_post_accumulate_grad_hook(arrived)

    def take(self, unit: Unit, name: str, p: nn.Parameter) -> None:
        """One gradient is there: put it into its unit, send what is full."""
        if not self.waiting:
            self.waiting = list(self.units)
            engine = torch.autograd.Variable._execution_engine
            engine.queue_callback(self.finish)  # once backward is over
        self.check_first(unit, name)
        if unit.total is None:
            unit.total = unit.new(unit.padded)
            unit.places = unit.views(unit.total)
        unit.places[name].copy_(p.grad)
        p.grad = None
        self.used.add(name)
        unit.missing.discard(name)
        while self.waiting and not self.waiting[0].missing:
            self.send(self.waiting.pop(0))

    def check_first(self, unit: Unit, name: str) -> None:
        """Raise `RuntimeError` for a gradient in several parts."""
        if unit not in self.waiting or name not in unit.missing:
            raise RuntimeError(
                f"{name}: got a second gradient in one backward, expected "
                "one; checkpoint with use_reentrant=False"
            )

    def finish(self) -> None:
        """Backward is over: send what waited for an unused weight."""
        while self.waiting:
            self.send(self.waiting.pop(0))

    def send(self, unit: Unit) -> None:
        """Sum a unit's gradients over ranks, keep the shard, free the rest."""
        total = unit.new(unit.padded) if unit.total is None else unit.total
        summed = unit.new(unit.shard, torch.empty)
        reduce_scatter(summed, total)
        if unit.gradient is None:
            unit.gradient = summed
        else:
            unit.gradient += summed
        unit.total, unit.places = None, {}
        unit.missing = set(unit.weights)

    def zero_grad(self) -> None:
        """Forget all gradients, also those of a backward that has failed."""
        self.summed, self.used, self.waiting = False, set(), []
        for unit in self.units:
            unit.gradient = unit.total = None
            unit.places, unit.missing = {}, set(unit.weights)
            for p in unit.weights.values():
                p.grad = None

    def sum_up(self) -> None:
        """All is summed already; without any backward there are zeros."""
        for unit in self.units:
            if unit.gradient is None:
                unit.gradient = unit.new(unit.shard)
        self.summed = True
