"""All three at once: each rank has some rows, some layers, a part of each.

    mesh   = how many ranks cut the layers' row, the batch, and each layer
    micro-batches are pieces of the rows of a `data` rank

Nothing here is new. A GPT is split by tensor parallelism, cut into stages,
run by a schedule, and the gradients of those who have the same numbers are
added up. What matters is that each message stays in its own group.
"""

from collections.abc import Iterator

import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from llmnotes.parallel import tensor_parallel as tp
from llmnotes.parallel.data_parallel import share
from llmnotes.parallel.pipeline.layers import Exit, cut
from llmnotes.parallel.pipeline.mesh import Mesh
from llmnotes.parallel.pipeline.messages import program
from llmnotes.parallel.pipeline.orders import one_f_one_b
from llmnotes.parallel.pipeline.runner import IGNORED, Runner
from llmnotes.transformer.gpt import GPT


class SplitExit(Exit):
    """The head of a split GPT: logits of this rank's tokens."""

    def __init__(self, model: tp.TensorGPT):
        super().__init__(model)
        self.ways = model.ways

    def forward(
        self, x: Float[Tensor, "batch length d_model"]
    ) -> Float[Tensor, "batch length part"]:
        """Return the logits of every next token that is here."""
        return F.linear(self.ways.enter(self.ln_f(x)), self.wte.weight)


class Three:
    """One rank of a GPT on a mesh; all ranks make it of equal dense models.

    `names` are the dense model's, for the parameters that are here.

    Raises `ValueError` for a mesh of another size than there are ranks, and
    what splitting and cutting the model raises.
    """

    def __init__(self, dense: GPT, mesh: Mesh, micro_batches: int):
        self.mesh, self.config, self.pieces = mesh, dense.config, micro_batches
        self.groups, self.place = mesh.join(), mesh.place(dist.get_rank())
        self.ends = between_ends(mesh)
        split = tp.TensorGPT(dense, tp.Replicated(self.groups["tensor"]))
        stages = cut(split, mesh.stages)
        stages[-1][-1] = SplitExit(split)
        number = self.place["stages"]
        self.stage, self.table = stages[number], split.transformer.wte.weight
        names = {p: name for name, p in split.named_parameters()}
        self.names = {names[p]: p for p in self.stage.parameters()}
        order = program(one_f_one_b(mesh.stages, micro_batches))
        self.runner = Runner(
            order, {number: self.stage}, self.config.n_embd,
            self.groups["stages"],
        )  # fmt: skip
        self.runner.loss = self.loss

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of logits that are split, summed over targets."""
        count = int((targets != IGNORED).sum())
        if not count:
            return logits.sum() * 0
        group, vocab = self.groups["tensor"], self.config.vocab_size
        return tp.cross_entropy(logits, targets, vocab, group) * count

    def find(
        self,
        inputs: Int[Tensor, "batch length"],
        targets: Int[Tensor, "batch length"],
    ) -> Float[Tensor, ""]:
        """Gradients of this rank's rows; what its stage adds to the loss.

        All ranks are given the whole batch.

        Raises `ValueError` for fewer rows than pieces.
        """
        total = int((targets != IGNORED).sum())
        mine = share((inputs, targets), self.place["data"], self.mesh.data)
        fewest = len(inputs) // self.mesh.data  # all ranks see the same
        if fewest < self.pieces:
            raise ValueError(
                f"inputs: got {len(inputs)} rows for {self.mesh.data} data "
                f"ranks of {self.pieces} micro-batches, expected a row for "
                "each"
            )
        pieces = (part.tensor_split(self.pieces) for part in mine)
        return self.runner.step(*pieces, total=total)

    def sum_up(self) -> None:
        """Add up the gradients of ranks that hold the same numbers."""
        if self.ends is not None:
            dist.all_reduce(self.table.grad, group=self.ends)
        for p in self.stage.parameters():
            dist.all_reduce(p.grad, group=self.groups["data"])

    def step(
        self,
        inputs: Int[Tensor, "batch length"],
        targets: Int[Tensor, "batch length"],
    ) -> Float[Tensor, ""]:
        """All gradients, and the mean loss of the batch on every rank."""
        found = self.find(inputs, targets)
        self.sum_up()
        for kind in ("stages", "data"):
            dist.all_reduce(found, group=self.groups[kind])
        return found


def between_ends(mesh: Mesh) -> dist.ProcessGroup | None:
    """Return this rank's group of two stages that share a table."""
    mine = None
    for first, last in pairs(mesh):
        made = dist.new_group([first, last])
        if dist.get_rank() in (first, last):
            mine = made
    return mine


def pairs(mesh: Mesh) -> Iterator[tuple[int, int]]:
    """First and last rank of each pipeline that has more than one."""
    for members in mesh.groups("stages"):
        if len(members) > 1:
            yield members[0], members[-1]
