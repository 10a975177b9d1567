"""What one rank of a pipeline does: its lines of the program, in order.

    stages  = {number: module} that this rank holds
    inputs  = micro-batches, ids of shape (batch, length)
    targets = what should come out, of the same shapes; −100 does not count
    total   = N, targets of the whole batch; each micro-batch's summed loss is
              divided by it, so that pieces of any size add up to the mean
    width   = h, numbers of a token between two stages

A send is left with the network and waited for before the next one to the
same rank; a receive is waited for by the event that needs it.

Sources
- Huang et al. 2018, arXiv 1811.06965, §2.3: accumulated, equal to one device.
"""

import contextlib
from collections.abc import Sequence

import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from llmnotes.parallel.pipeline.events import Event
from llmnotes.parallel.pipeline.later import Later
from llmnotes.parallel.pipeline.steps import Program

IGNORED = -100  # a target that does not count


def summed_loss(
    logits: Float[Tensor, "batch length vocab"],
    targets: Int[Tensor, "batch length"],
) -> Float[Tensor, ""]:
    """Cross-entropy, summed over the targets that count."""
    return F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(),
        ignore_index=IGNORED, reduction="sum",
    )  # fmt: skip


class Runner:
    """One rank. Gradients add up in its stages, as backward leaves them.

    `group` are the ranks of the pipeline, by default all there are.

    Raises `ValueError` if the group has another size than the program, or
    the stages are not those of this rank.
    """

    loss = staticmethod(summed_loss)

    def __init__(
        self, program: Program, stages: dict[int, nn.Module], width: int,
        group: dist.ProcessGroup | None = None,
    ):  # fmt: skip
        self.schedule, self.program = program.schedule, program
        self.group = group
        self.rank, ranks = dist.get_rank(group), dist.get_world_size(group)
        if ranks != self.schedule.ranks:
            raise ValueError(
                f"program: got one for {self.schedule.ranks} ranks, expected "
                f"{ranks}"
            )
        wanted = list(range(self.rank, self.schedule.last + 1, ranks))
        if sorted(stages) != wanted:
            raise ValueError(
                f"stages: got {sorted(stages)}, expected {wanted} on rank "
                f"{self.rank}"
            )
        self.stages, self.width = stages, width
        self.like = next(stages[self.rank].parameters())
        self.trace: list[Event] = []
        self.peak = 0

    def step(
        self,
        inputs: Sequence[Int[Tensor, "batch length"]],
        targets: Sequence[Int[Tensor, "batch length"]],
        total: int | None = None,
    ) -> Tensor:
        """All micro-batches through this rank's stages, there and back.

        Every rank is given all of them, and uses what is its own. Returns
        this rank's part of the loss, which is 0 but on the last rank. With
        `total` given, several steps accumulate to one mean.

        Raises `ValueError` for another number of micro-batches than the
        schedule's, and for inputs and targets of unequal shapes.
        """
        check_batches(self.schedule.micro_batches, inputs, targets)
        counted = sum(int((t != IGNORED).sum()) for t in targets)
        self.inputs, self.targets = inputs, targets
        self.total = max(counted, 1) if total is None else total
        self.sum = self.like.new_zeros(())
        self.kept, self.late, self.mail, self.sent = {}, {}, {}, {}
        for step in self.program.steps[self.rank]:
            getattr(self, step.act)(step.event)
        for work, _ in self.sent.values():
            work.wait()
        return self.sum

    def run(self, event: Event) -> None:
        """Do what an event stands for."""
        kinds = {"F": self.forward, "B": self.back, "I": self.back,
                 "W": self.weights}  # fmt: skip
        kinds[event.kind](event)
        self.trace.append(event)
        self.peak = max(self.peak, len(self.kept) + len(self.late))

    def forward(self, event: Event) -> None:
        """One stage of one micro-batch; keep what its backward needs."""
        stage, micro = event.stage, event.micro
        x = self.take(event) if stage else self.inputs[micro]
        later = Later() if self.schedule.backward == "I" else None
        with later or contextlib.nullcontext():
            y = self.stages[stage](x.requires_grad_() if stage else x)
        if stage == self.schedule.last:
            y = self.loss(y, self.targets[micro]) / self.total
            self.sum += y.detach()
        self.kept[stage, micro] = x, y, later
        self.put(event, y.detach())

    def back(self, event: Event) -> None:
        """The gradient of a stage's input, and of its weights unless later."""
        x, y, later = self.kept.pop((event.stage, event.micro))
        last = event.stage == self.schedule.last
        dy = None if last else self.take(event)
        if y.requires_grad:  # not where the first stage is frozen
            y.backward(dy)
        if event.kind == "I":
            self.late[event.stage, event.micro] = later
        if event.stage:
            self.put(event, x.grad)

    def weights(self, event: Event) -> None:
        """The other half."""
        self.late.pop((event.stage, event.micro)).weights()

    def put(self, event: Event, made: Tensor) -> None:
        """Lay down what another stage waits for."""
        if self.schedule.heir(event) is not None:
            self.mail[event] = made, None

    def take(self, event: Event) -> Tensor:
        """Take what an event needs of another stage, when it is there."""
        tensor, work = self.mail.pop(self.schedule.needs(event)[-1])
        if work is not None:
            work.wait()
        return tensor

    def send(self, event: Event) -> None:
        """Leave a message with the network, behind the one before it."""
        heir, tensor = self.schedule.heir(event), self.mail.pop(event)[0]
        if heir in self.sent:
            self.sent[heir][0].wait()
        tensor = tensor.contiguous()
        to = {"group": self.group, "group_dst": heir}
        self.sent[heir] = dist.isend(tensor, tag=self.tag(event), **to), tensor

    def receive(self, event: Event) -> None:
        """Make room for a message, and ask for it."""
        shape = *self.inputs[event.micro].shape, self.width
        room = self.like.new_empty(shape)
        home = self.schedule.rank(event.stage)
        of = {"group": self.group, "group_src": home}
        work = dist.irecv(room, tag=self.tag(event), **of)
        self.mail[event] = room, work

    def tag(self, event: Event) -> int:
        """A number for each message: two ranks may have several underway."""
        micro, stage = self.schedule.micro_batches, event.stage
        return (2 * stage + (event.kind != "F")) * micro + event.micro


def check_batches(micro_batches: int, inputs, targets) -> None:
    """Raise `ValueError` unless these are m pairs of equal shapes."""
    for name, given in {"inputs": inputs, "targets": targets}.items():
        if len(given) != micro_batches:
            raise ValueError(
                f"{name}: got {len(given)} micro-batches, expected "
                f"{micro_batches}, as in the schedule"
            )
    for number, (x, y) in enumerate(zip(inputs, targets, strict=True)):
        if x.shape != y.shape:
            raise ValueError(
                f"targets: got shape {tuple(y.shape)} in micro-batch {number},"
                f" expected {tuple(x.shape)}, as of its inputs"
            )
