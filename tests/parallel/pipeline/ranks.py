"""What the ranks of the tests do; each returns what a test compares."""

import torch
import torch.distributed as dist
from torch.distributed import pipelining

from llmnotes.parallel.data_parallel import Living, Traffic
from llmnotes.parallel.pipeline import (
    Runner,
    Tie,
    clip,
    cut,
    naive,
    one_f_one_b,
    program,
)
from tests.parallel.pipeline import tiny


class Blocking(Runner):
    """Stands still at each message until both ends have met."""

    def send(self, event):
        tensor = self.mail.pop(event)[0].contiguous()
        dist.send(tensor, self.schedule.heir(event), tag=self.tag(event))

    def receive(self, event):
        super().receive(event)
        self.mail[event][1].wait()
        self.mail[event] = self.mail[event][0], None


class Clocked(Runner):
    """Every message carries the time of its sender; events take units.

    So a real run has a timeline that does not depend on the machine.
    """

    costs = {"F": 1, "B": 2, "I": 1, "W": 1}

    def step(self, *args):
        self.clock, self.spans, self.stamps = 0, [], {}
        return super().step(*args)

    def run(self, event):
        super().run(event)
        start = self.clock
        self.clock += self.costs[event.kind]
        self.spans.append((event, start, self.clock))
        self.stamps[event] = self.clock

    def take(self, event):
        need = self.schedule.needs(event)[-1]
        tensor = super().take(event)
        if need in self.stamps:  # of this very rank
            return tensor
        self.clock = max(self.clock, int(tensor[0, 0, -1]))
        return tensor[..., :-1].contiguous()

    def receive(self, event):
        self.width += 1  # a place for the time
        super().receive(event)
        self.width -= 1

    def send(self, event):
        tensor, _ = self.mail[event]
        stamp = torch.full_like(tensor[..., :1], self.stamps[event])
        self.mail[event] = torch.cat([tensor, stamp], -1), None
        super().send(event)


def runner(schedule, model, kind=Runner, width=tiny.WIDTH):
    """A rank with its own stages of a model."""
    parts = dict(enumerate(cut(model, schedule.last + 1)))
    here = range(dist.get_rank(), schedule.last + 1, schedule.ranks)
    return kind(program(schedule), {s: parts[s] for s in here}, width)


def gradients(model):
    """By name, what this rank has."""
    return {
        name: p.grad.numpy().copy()
        for name, p in model.named_parameters()
        if p.grad is not None
    }


def one_step(schedule, layers=4, kind=Runner):
    """Loss, gradients, the events in order, and the most that was held."""
    model = tiny.gpt(layers)
    tie = Tie(model.transformer.wte.weight)
    rank = runner(schedule, model, kind)
    loss = rank.step(*tiny.batches(schedule.micro_batches))
    tie.add_up()
    return loss.item(), gradients(model), rank.trace, rank.peak


def steps(schedules):
    """One step of each of several."""
    return [one_step(s, max(4, s.last + 1)) for s in schedules]


def timed(schedules):
    """The timelines of real runs, in units."""
    found = []
    for schedule in schedules:
        rank = runner(schedule, tiny.gpt(max(4, schedule.last + 1)), Clocked)
        rank.step(*tiny.batches(schedule.micro_batches))
        found.append(rank.spans)
    return found


def peaks(schedules):
    """The most stages that this rank held, of each schedule."""
    return [one_step(s, max(4, s.last + 1))[3] for s in schedules]


class Wide(torch.nn.Module):
    """A stage whose messages are as large as one likes."""

    def __init__(self, width):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((width,), 1.5))

    def forward(self, x):
        if not x.is_floating_point():
            x = x[..., None].to(self.scale.dtype)
        return x * self.scale


class Summed(Runner):
    """The loss is the sum of all that comes out."""

    loss = staticmethod(lambda y, targets: y.sum())


class SummedBlocking(Summed, Blocking):
    """The same, with messages at which both ranks stand still."""


def megabytes(schedules, kind):
    """Messages of 1 MB: 4 x 64 tokens of 1,024 numbers."""
    found = []
    for schedule in schedules:
        here = range(dist.get_rank(), schedule.last + 1, schedule.ranks)
        stages = {stage: Wide(1024) for stage in here}
        rank = kind(program(schedule), stages, 1024)
        ids = [torch.ones(4, 64, dtype=torch.long)] * schedule.micro_batches
        found.append(rank.step(ids, ids, 4 * 64 * 1024).item())
    return found


def trained(schedule, steps, accumulate=1):
    """Weights after some steps of AdamW, clipped; all that a rank changed."""
    model = tiny.gpt()
    tie = Tie(model.transformer.wte.weight)
    rank = runner(schedule, model)
    mine = [p for s in rank.stages.values() for p in s.parameters()]
    adam = torch.optim.AdamW(dict.fromkeys(mine), lr=0.01)
    norms = []
    for step in range(steps):
        pieces = [
            tiny.batches(schedule.micro_batches, accumulate * step + i)
            for i in range(accumulate)
        ]
        total = sum(tiny.counted(targets) for _, targets in pieces)
        adam.zero_grad()
        for inputs, targets in pieces:
            rank.step(inputs, targets, total)
        tie.add_up()
        norms.append(clip(adam.param_groups[0]["params"], 0.5, tie.copies))
        adam.step()
    held = {id(p) for p in mine}
    return [n.item() for n in norms], {
        name: p.detach().numpy()
        for name, p in model.named_parameters()
        if id(p) in held
    }


def frozen(schedule):
    """Gradients of a step whose first stage has none, and their norm."""
    model = tiny.gpt(max(4, schedule.last + 1))
    rank = runner(schedule, model)
    cut(model, schedule.last + 1)[0].requires_grad_(False)
    rank.step(*tiny.batches(schedule.micro_batches))
    found = gradients(model)
    mine = [p for s in rank.stages.values() for p in s.parameters()]
    return found, clip(dict.fromkeys(mine), 1e9).item()


def sent(schedule):
    """Numbers that left this rank in one step, and what kind of messages."""
    rank = runner(schedule, tiny.gpt(max(4, schedule.last + 1)))
    with Traffic() as traffic:
        rank.step(*tiny.batches(schedule.micro_batches))
    return traffic.sent, dict(traffic.count())


def held(schedules, layers=4):
    """The most bytes that lived at one time in a step, of each schedule."""
    found = []
    for schedule in schedules:
        model = tiny.gpt(layers, torch.float32)
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        rank = runner(schedule, model)
        inputs = [torch.ones(2, 9, dtype=torch.long)] * schedule.micro_batches
        with Living() as living:
            rank.step(inputs, inputs)
        found.append(living.peak)
    return found


def clipped(gradients, limit, copies=()):
    """Norm and gradients behind clipping; each rank is given its own."""
    mine = []
    for values in gradients[dist.get_rank()]:
        p = torch.nn.Parameter(torch.zeros(len(values)))
        p.grad = torch.tensor(values)
        mine.append(p)
    here = [mine[i] for rank, i in copies if rank == dist.get_rank()]
    return clip(mine, limit, here).item(), [p.grad.tolist() for p in mine]


def by_torch(kind, chunks, micro_batches):
    """Gradients of torch.distributed.pipelining, and ours, per rank."""
    schedule_of = tiny.OURS[kind]
    ranks = dist.get_world_size()
    schedule = schedule_of(ranks, micro_batches, chunks)
    inputs, targets = tiny.equal_batches(micro_batches)
    mine = tiny.gpt(max(4, schedule.last + 1))
    loss = runner(schedule, mine).step(inputs, targets)
    theirs = tiny.gpt(max(4, schedule.last + 1))
    parts = cut(theirs, schedule.last + 1)
    stages = [
        pipelining.PipelineStage(
            parts[s], s, schedule.last + 1, torch.device("cpu")
        )
        for s in range(dist.get_rank(), schedule.last + 1, ranks)
    ]
    made = getattr(pipelining, kind)
    single = kind in ("ScheduleGPipe", "Schedule1F1B")
    run = made(
        stages[0] if single else stages, micro_batches, loss_fn=tiny.mean_loss
    )
    ends = {}
    if dist.get_rank() == 0:
        ends["args"] = [torch.cat(inputs)]
    losses = []
    if dist.get_rank() == ranks - 1:
        ends["target"], ends["losses"] = torch.cat(targets), losses
    run.step(*ends.pop("args", []), **ends)
    found = [x.item() for x in losses]
    return loss.item(), found, gradients(mine), gradients(theirs)


def twice_by_torch(micro_batches):
    """The gradient behind two equal steps over that behind one."""
    rank, found = dist.get_rank(), []
    inputs, targets = map(torch.cat, tiny.equal_batches(micro_batches))
    for steps in (1, 2):
        model = tiny.gpt()
        stage = pipelining.PipelineStage(
            cut(model, 2)[rank], rank, 2, torch.device("cpu")
        )
        for _ in range(steps):
            run = pipelining.Schedule1F1B(
                stage, micro_batches, loss_fn=tiny.mean_loss
            )
            run.step(inputs) if rank == 0 else run.step(target=targets)
        found.append(gradients(model)["transformer.wte.weight"])
    return float((found[1] / found[0]).mean())


def begun():
    """What a tied weight is, if each rank begins with its own number."""
    weight = torch.nn.Parameter(torch.full((2,), float(dist.get_rank())))
    Tie(weight)
    return weight[0].item()


def left_apart(schedule):
    """A tied weight's gradient whose two parts are not added up."""
    model = tiny.gpt()
    rank = runner(schedule, model)
    rank.step(*tiny.batches(schedule.micro_batches))
    return model.transformer.wte.weight.grad.numpy()


def refusals():
    """The messages with which a rank refuses what cannot be."""
    schedule, model = one_f_one_b(2, 3), tiny.gpt()
    rank = runner(schedule, model)
    inputs, targets = tiny.batches(3)
    stages = dict(enumerate(cut(model, 2)))
    other = program(one_f_one_b(3, 3))
    cases = [
        lambda: Runner(other, stages, tiny.WIDTH),
        lambda: Runner(program(schedule), stages, tiny.WIDTH),
        lambda: rank.step(inputs[:2], targets),
        lambda: rank.step(inputs, targets[:1]),
        lambda: rank.step(inputs, [targets[0], targets[2], targets[1]]),
    ]
    return [refused(case) for case in cases]


def refused(case):
    """The message of a `ValueError`."""
    try:
        case()
    except ValueError as error:
        return str(error)
    return None


def broken(schedule):
    """One stage fails in its third forward; who is told?"""
    rank = runner(schedule, tiny.gpt())
    if dist.get_rank() == 1:
        forward = rank.forward

        def fails(event):
            if event.micro == 2:
                raise RuntimeError("out of memory")
            forward(event)

        rank.forward = fails
    rank.step(*tiny.batches(schedule.micro_batches))


def hangs():
    """Send as soon as it is there, receive when it is needed: 1 kB."""
    made, rank = naive(one_f_one_b(2, 3)), dist.get_rank()
    ids = [torch.ones(4, 64, dtype=torch.long)] * 3
    return SummedBlocking(made, {rank: Wide(1)}, 1).step(ids, ids)
