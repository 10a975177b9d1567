"""GPT-2 on several ranks, each with its rows of the batch.

    N        = ranks; each has the whole model
    Replicas = gradients are summed by all-reduce, and each rank updates all
    Shards   = each rank gets the sum of its part of every stretch, updates
               that part, and sends it to the others (ZeRO-1)

Both send 2(N-1)/N·4Ψ bytes a rank and step. A stretch travels as soon as its
gradients are whole, while the calls before it in the model still compute.

For `Shards` the sum of a part is an all-to-all, after which its rank adds up
what it was sent, and the way back a broadcast of each part: gloo makes its
reduce-scatter of an all-reduce, which sends twice as much, and its all-gather
copies.

Sources
- Li et al. 2020, "PyTorch Distributed", arXiv 2006.15704, §3.2 (overlap).
- Rajbhandari et al. 2019, "ZeRO", arXiv 1910.02054, §5.1 and §7.1 (shards;
  what they send).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from llmnotes.parallel.checkpointing import Part
from llmnotes.parallel.data_parallel import agree
from llmnotes.parallel.gpt2_parallel.stretches import SIZE, Layout, Stretch
from llmnotes.transformer.gpt import GPTConfig
from llmnotes.transformer.gpt2_by_hand import GPT2, Tensors, calls, loops
from llmnotes.transformer.gpt2_by_hand.model import Ids, check_ids


@dataclass
class Sum:
    """Parts on their way, and where their sum goes."""

    work: dist.Work
    parts: Tensor  # (ranks, numbers of a part)
    out: Tensor

    def wait(self) -> None:
        """Until they are there; then add them up, from rank 0 on."""
        self.work.wait()
        torch.sum(self.parts, 0, out=self.out)


@dataclass
class Several:
    """Messages that are waited for together."""

    works: list[dist.Work]

    def wait(self) -> None:
        """Until all are there."""
        for work in self.works:
            work.wait()


class Replicas:
    """One rank's GPT-2; `weights` are copied into the order of stretches.

    Raises `ValueError` on every rank where their models differ.
    """

    def __init__(
        self, config: GPTConfig, weights: Tensors, kernels=loops,
        size: int = SIZE,
    ):  # fmt: skip
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        agree("weights", {n: str(x.shape) for n, x in weights.items()})
        self.model = model = GPT2(config, weights, kernels)
        self.layout = Layout(weights.shapes, config.n_layer, self.ranks, size)
        self.params = self.zeros(self.layout.size)
        self.grads = self.zeros(self.layout.size)
        for name, view in self.layout.views(self.params).items():
            if isinstance(view, list):
                for layer, x in zip(view, weights[name], strict=True):
                    layer[...] = x
            else:
                view[...] = weights[name]
            model.tensors[name] = view
        model.tensors.update(self.layout.views(self.grads, "d"))
        self.moments = [
            (self.zeros(count), self.zeros(count))
            for count in (len(self.params[self.own(s)]) for s in self.all)
        ]
        self.todo = calls.backward(config.n_layer)

    @property
    def all(self) -> list[Stretch]:
        """The stretches, in the order in which they are sent."""
        return self.layout.stretches

    def zeros(self, size: int) -> np.ndarray:
        """Numbers in the precision of the weights."""
        return np.zeros(size, self.model.weights.numbers.dtype)

    def step(self, tokens: Ids, targets: Ids, **options) -> float:
        """One step on the whole batch; its loss before the update.

        Raises `ValueError` for fewer rows than ranks, and, on all ranks, for
        ids that are no tokens in any row; `RuntimeError`
        before any parameter is changed if the loss is no number.
        """
        if len(tokens) < self.ranks:
            raise ValueError(
                f"tokens: got {len(tokens)} rows for {self.ranks} ranks, "
                "expected a row for each"
            )
        given = np.asarray(tokens), np.asarray(targets)
        # All ranks look at all rows: one that refused alone left the others.
        names = dict(zip(("tokens", "targets"), given, strict=True))
        check_ids(self.model.config, names)
        mine = [np.array_split(x, self.ranks)[self.rank] for x in given]
        share = len(mine[0]) / len(tokens)
        self.model.forward(*mine)
        self.model.loss = self.summed(self.model.loss * share)
        self.backward(share)
        self.update(**options)
        return self.model.loss

    def summed(self, number: float) -> float:
        """The sum of one number over all ranks."""
        found = torch.tensor([number], dtype=torch.float64)
        dist.all_reduce(found)
        return found.item()

    def backward(self, share: float) -> None:
        """Call after call; each stretch leaves when it is whole."""
        model = self.model
        if model.dacts is None:
            model.dacts = model.zeros(model.acts.shapes)
            model.tensors.update(
                {f"d{name}": x for name, x in model.dacts.items()}
            )
        self.grads[:] = model.dacts.numbers[:] = 0
        model.dacts["losses"][:] = share / model.dacts["losses"].size
        waiting = list(self.all)
        self.sent = []
        for number, call in enumerate(self.todo):
            calls.run([call], model.kernels, model.tensors)
            while waiting and waiting[0].ready <= number:
                self.sent.append(self.send(waiting.pop(0)))

    def update(
        self,
        lr: float = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """AdamW, stretch by stretch, as their sums arrive."""
        if not math.isfinite(self.model.loss):
            for sent in self.sent:
                sent.wait()
            raise RuntimeError(
                f"loss: got {self.model.loss}, expected a number; no "
                "parameter was changed"
            )
        self.model.steps += 1
        numbers = lr, beta1, beta2, eps, weight_decay, self.model.steps
        left = []
        for stretch, sent, moments in zip(
            self.all, self.sent, self.moments, strict=True
        ):
            sent.wait()
            mine = self.own(stretch)
            self.model.kernels.adamw(
                self.params[mine], self.grads[mine], *moments, *numbers
            )
            left.append(self.spread(stretch))
        for sent in filter(None, left):
            sent.wait()

    def send(self, stretch: Stretch) -> dist.Work | Sum:
        """Begin to sum a stretch's gradients over all ranks."""
        row = torch.from_numpy(self.grads[stretch.whole])
        return dist.all_reduce(row, async_op=True)

    def own(self, stretch: Stretch) -> slice:
        """What this rank updates: all of it."""
        return stretch.whole

    def spread(self, stretch: Stretch) -> Several | None:
        """Nothing: all ranks have moved everything, to the same bits."""
        return None


class Shards(Replicas):
    """The same, but each rank moves only its part of every stretch."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.received = self.zeros(self.layout.size)  # to this rank

    def send(self, stretch: Stretch) -> Sum:
        """Begin to send every rank its part, to be summed there."""
        row = torch.from_numpy(self.grads[stretch.whole])
        parts = torch.from_numpy(self.received[stretch.whole])
        mine = torch.from_numpy(self.grads[self.own(stretch)])
        work = dist.all_to_all_single(parts, row, async_op=True)
        return Sum(work, parts.view(self.ranks, -1), mine)

    def own(self, stretch: Stretch) -> slice:
        """The part of this rank."""
        return stretch.part(self.rank, self.ranks)

    def spread(self, stretch: Stretch) -> Several:
        """Begin to send the moved part to all others, and to get theirs."""
        row = torch.from_numpy(self.params[stretch.whole])
        parts = enumerate(row.chunk(self.ranks))
        return Several(
            [dist.broadcast(x, rank, async_op=True) for rank, x in parts]
        )

    def parts(self) -> list[Part]:
        """What this rank writes: its part of all weights and moments."""
        found = []
        for k, (stretch, (m, v)) in enumerate(
            zip(self.all, self.moments, strict=True)
        ):
            mine = self.own(stretch)
            kept = {"params": self.params[mine], "m": m, "v": v}
            first = mine.start - stretch.start
            count = min(len(m), stretch.size - first)
            found += [
                Part(f"{k}.{name}", (stretch.size,), first,
                     torch.from_numpy(row[:count]))
                for name, row in kept.items()
                if count > 0
            ]  # fmt: skip
        return found

    def weights_whole(self) -> list[Part]:
        """All weights, to be filled on every rank."""
        return [
            Part(f"{k}.params", (s.size,), 0,
                 torch.from_numpy(self.params[s.start : s.start + s.size]))
            for k, s in enumerate(self.all)
        ]  # fmt: skip
