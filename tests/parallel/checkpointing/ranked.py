"""What ranks of these tests do: importable by a process of its own."""

import copy
import os
import signal
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from llmnotes.parallel import checkpointing as ck
from llmnotes.parallel.checkpointing import (
    Background,
    Checkpoints,
    Disk,
    Meeting,
    flat,
    rows,
    whole,
)
from llmnotes.parallel.data_parallel import ring_all_reduce
from tests.parallel.checkpointing import small
from tests.parallel.checkpointing.small import place

CUTS = {"flat": flat, "rows": rows}


class Counting(Disk):
    """Counts what it reads."""

    def __init__(self):
        self.read_from, self.bytes = [], 0

    def read(self, file, start, into):
        self.bytes += into.nbytes
        self.read_from.append((file.name, start, into.nbytes))
        super().read(file, start, into)


class Deadly(Disk):
    """Ends its process before operation number `at`, as kill -9 does."""

    def __init__(self, at=0):
        self.at, self.done = at, []

    def before(self, operation, path):
        if operation == "read":
            return
        self.done.append((operation, path.name))
        if len(self.done) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class Full(Disk):
    """Has no room for what rank 1 writes, from the second step on."""

    def before(self, operation, path):
        if operation == "write" and path.name == "rank-1.bin":
            raise OSError(28, "No space left on device")


def tensors(seed=0):
    """Odd shapes and several types, a single number and an empty one."""
    draw = torch.Generator().manual_seed(seed)
    wide = torch.randn(5, 3, generator=draw)
    return {
        "w": wide,
        "b": torch.randn(7, generator=draw, dtype=torch.float64),
        "half": torch.randn(3, 2, 5, generator=draw).bfloat16(),
        "step": torch.tensor(4.0),
        "ids": torch.randint(99, (11,), generator=draw),
        "mask": torch.rand(13, generator=draw) > 0.5,
        "none": torch.zeros(0, 4),
    }


def save_and_tell(folder, cut, block=16):
    """Save; returns what this rank's file and the whole folder hold."""
    parts = CUTS[cut](tensors(), *place())
    home = Checkpoints(folder, block=block).save(6, parts, {"seed": 3})
    return home.name, sorted(p.name for p in home.iterdir())


def load_all(folders, cut, block=16):
    """Load each; returns parts as lists of (name, start, equal), and bytes."""
    found = []
    for folder in folders:
        disk, right = Counting(), tensors()
        empty = {name: torch.zeros_like(x) for name, x in right.items()}
        parts = CUTS[cut](empty, *place())
        facts = Checkpoints(folder, disk=disk).load(parts)
        expected = CUTS[cut](right, *place())
        same = [
            torch.equal(a.values, b.values)
            for a, b in zip(parts, expected, strict=True)
        ]
        found.append((facts, all(same), disk.read_from))
    return found


def save_both(folders):
    """One folder with each cut."""
    for folder, cut in zip(folders, CUTS, strict=True):
        save_and_tell(folder, cut)


def load_both(folders):
    """All folders with each cut."""
    return [found for cut in CUTS for found in load_all(folders, cut)]


def read_a_quarter(folder):
    """Bytes that each rank reads of 4,096 numbers in one row."""
    disk = Counting()
    empty = {"w": torch.zeros(64, 64)}
    Checkpoints(folder, disk=disk).load(flat(empty, *place()))
    index = (Path(folder) / "step-000006" / "index.json").stat().st_size
    return disk.bytes - index


def save_row(folder, block):
    """4,096 numbers, saved by whoever is there."""
    x = {"w": torch.arange(4096.0).view(64, 64)}
    Checkpoints(folder, block=block).save(6, flat(x, *place()))


def columns(folder):
    """A matrix by columns: as parts of its row, one for each line."""
    rank, ranks = place()
    w = torch.arange(20.0).view(4, 5)
    lines = [{f"w{i}": row.clone()} for i, row in enumerate(w)]
    parts = [
        copy.copy(ck.Part("w", (4, 5), 5 * i + p.start, p.values))
        for i, line in enumerate(lines)
        for p in flat(line, rank, ranks)
    ]
    where = Checkpoints(folder)
    where.save(1, parts)
    return where.tensors()[0]["w"].tolist()


def decays_at(*steps):
    """The state of a scheduler whose keys are numbers."""
    adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    return torch.optim.lr_scheduler.MultiStepLR(adam, steps).state_dict()


def refusals(folder):
    """What each wrong call says on this rank."""
    rank, ranks = place()
    x = tensors()
    one = {"w": x["w"]}
    where = Checkpoints(folder)
    where.save(1, flat(one, rank, ranks), {"a": 1})
    more = one | {"v": x["b"]}
    calls = {
        "gap": lambda: where.save(2, flat(one, rank, ranks)[: 1 - rank]),
        "twice": lambda: where.save(2, whole(one)),
        "shapes": lambda: where.save(
            2, flat({"w": torch.zeros(5, 3 + rank)}, rank, ranks)
        ),
        "types": lambda: where.save(
            2, flat({"w": x["w"].double() if rank else x["w"]}, rank, ranks)
        ),
        "facts": lambda: where.save(
            2, flat(one, rank, ranks), {"seed": 7, "read": rank}
        ),
        "json": lambda: where.save(2, flat(one, rank, ranks), {"a": {1}}),
        "keys": lambda: where.save(
            2, flat(one, rank, ranks), {"scheduler": decays_at(2, 5)}
        ),
        "step": lambda: where.save(-1, flat(one, rank, ranks)),
        "earlier": lambda: where.save(0, flat(one, rank, ranks)),
        "missing": lambda: where.load(flat(more, rank, ranks)),
        "extra": lambda: where.load([]),
        "shape": lambda: where.load(
            flat({"w": torch.zeros(5, 4)}, rank, ranks)
        ),
        "dtype": lambda: where.load(flat({"w": x["w"].double()}, rank, ranks)),
        "no step": lambda: where.load(whole(one), 9),
        "name": lambda: where.tensors(names=["q"]),
        "none": lambda: Checkpoints(f"{folder}/none").load(whole(one)),
    }
    return {name: message(call) for name, call in calls.items()}


def message(call):
    """The class and words of an error."""
    try:
        call()
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def full_disk(folder):
    """The disk of rank 1 is full at the second step; who says what?"""
    parts = flat(tensors(), *place())
    Checkpoints(folder).save(3, parts)
    full = Checkpoints(folder, disk=Full())
    told = message(lambda: full.save(6, parts))
    left = sorted(p.name for p in Path(folder).iterdir())
    Checkpoints(folder).save(6, parts)
    return told, left, Checkpoints(folder).steps()


def save_if_best(folder):
    """Each rank decides by its own loss."""
    rank, ranks = place()
    where = Checkpoints(folder, patience=0.5)
    where.save(1, flat(tensors(), rank, ranks))
    loss = [1.0, 2.0, 1.5][rank]
    if loss < 1.8:  # rank 1 differs
        where.save(2, flat(tensors(), rank, ranks))
    dist.all_reduce(torch.ones(3))


def save_if_told(folder):
    """Rank 0 decides, and tells the others."""
    rank, ranks = place()
    where, meeting = Checkpoints(folder), Meeting("loss")
    loss = [1.0, 2.0, 1.5][rank]
    if meeting.told("is it best", loss < 1.8):
        where.save(2, flat(tensors(), rank, ranks))
    return where.steps()


def other_steps(folder):
    """Ranks save at another step each."""
    rank, ranks = place()
    where = Checkpoints(folder)
    return message(lambda: where.save(5 + rank, flat(tensors(), rank, ranks)))


def blind(folder):
    """Rank 1 does not see the folder of the newest checkpoint."""
    rank, ranks = place()
    where = Checkpoints(folder)
    for step in (3, 6):
        where.save(step, flat(tensors(), rank, ranks))
    if rank == 1:
        ck.checkpoints.checkpoint.steps = lambda folder: [3]
    facts = where.load(flat(tensors(), rank, ranks))
    return where.newest(), facts


def flipped():
    """Rank 1's memory has turned over a bit; who is named?"""
    rank, _ = place()
    meeting, x = Meeting("replicas"), tensors()
    ck.compare(x, meeting)
    if rank == 1:
        ck.flip(x["half"], 17, 3)
    return message(lambda: ck.compare(x, meeting))


def damaged_for_one(folder):
    """A bit of rank 1's file is another one: all are told."""
    rank, ranks = place()
    where = Checkpoints(folder)
    home = where.save(6, flat(tensors(), rank, ranks))
    if rank == 1:
        time.sleep(0.05)
        data = bytearray((home / "rank-1.bin").read_bytes())
        data[-1] ^= 1
        (home / "rank-1.bin").write_bytes(data)
    dist.barrier()
    mine = flat({n: torch.zeros_like(x) for n, x in tensors().items()},
                rank, ranks)  # fmt: skip
    told = message(lambda: where.load(mine))
    return told, sum(float(p.values.float().abs().sum()) for p in mine)


def live_and_later(folder):
    """Saved in the background while all weights change; what is on disk?"""
    rank, ranks = place()
    x = {"w": torch.ones(5, 3), "step": torch.tensor(1.0)}
    where = Checkpoints(folder)
    with Background(where) as later:
        for step in (1, 2, 3):
            facts = {"read": [step]}
            later.save(step, flat(x, rank, ranks), facts)
            facts["read"].append("more")
            for value in x.values():
                value += 1
            dist.all_reduce(torch.ones(9))  # training goes on
    found, facts = where.tensors()
    return [found["w"].unique().tolist(), found["step"].item(), facts]


def dies(rank, ranks, store, folder, victim, at, steps):
    """One of two ranks dies before operation `at`."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", store=dist.FileStore(store, ranks), rank=rank,
        world_size=ranks,
    )  # fmt: skip
    disk = Deadly(at if rank == victim else 0)
    small.go(folder, steps, disk=disk)


def operations(folder, before, steps):
    """What each rank asks of its disk from one checkpoint to the next."""
    small.go(folder, before)
    disk = Deadly()
    small.go(folder, steps, disk=disk)
    return disk.done


def with_dcp(folder):
    """The same state through torch.distributed.checkpoint and ours."""
    from torch.distributed import checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    rank, ranks = place()
    mesh = init_device_mesh("cpu", (ranks,))
    x = {n: t for n, t in tensors().items() if t.ndim and t.numel()}

    def shards(scale):
        return {
            name: distribute_tensor(t * scale, mesh, [Shard(0)])
            for name, t in x.items()
        }

    home, where = Path(folder) / "dcp", Checkpoints(Path(folder) / "ours")
    if not home.exists():
        dist.barrier()
        state = shards(1)
        dcp.save(state, checkpoint_id=home)
        where.save(1, from_dtensors(state))
        return None
    state, other = shards(0), shards(0)
    dcp.load(state, checkpoint_id=home)
    where.load(from_dtensors(other))
    return all(
        torch.equal(state[n].to_local(), other[n].to_local())
        and torch.equal(state[n].full_tensor(), x[n])
        for n in x
    )


def from_dtensors(state):
    """Parts of what FSDP2 and DTensor hold: `rows`, but of local shards."""
    rank, ranks = place()
    parts = []
    for name, d in state.items():
        each = -(-len(d) // ranks) * (d.numel() // len(d))
        start = min(rank * each, d.numel())
        if (local := d.to_local()).numel():
            parts.append(ck.Part(name, tuple(d.shape), start, local.view(-1)))
    return parts


def fsdp_cuts_like_rows():
    """fully_shard's local parts beside ours."""
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7, bias=False))
    full = {n: p.detach().clone() for n, p in model.named_parameters()}
    fully_shard(model)
    theirs = from_dtensors(dict(model.named_parameters()))
    ours = rows(full, *place())
    return len(ours) == len(theirs) and all(
        (a.name, a.start) == (b.name, b.start)
        and torch.equal(a.values, b.values)
        for a, b in zip(ours, theirs, strict=True)
    )


def go_on(folders):
    """Finish the runs in these folders; each one's state at the end."""
    return [small.go(folder)[2] for folder in folders]


def rows_of_ranks(count=12, numbers=501):
    """The same rows on all ranks."""
    draw = torch.Generator().manual_seed(5)
    return torch.randn(count, numbers, generator=draw)


def mine(rows):
    """This rank's share of them."""
    rank, ranks = place()
    low, high = (len(rows) * r // ranks for r in (rank, rank + 1))
    return rows[low:high]


def unequal_pieces():
    """Twelve pieces cut for ranks that do not divide them."""
    rank, ranks = place()
    own = rows_of_ranks().tensor_split(ranks)[rank]
    return message(lambda: ck.sum_in_order(own))


def ring_and_gloo():
    """A ring of real ranks beside the order that is said to be its own."""
    rank, ranks = place()
    rows = rows_of_ranks(ranks)
    x = rows[rank].clone()
    ring_all_reduce(x)
    return x.tolist(), ck.around_a_ring(rows).tolist()


def in_order():
    """All rows summed in one order."""
    return ck.sum_in_order(mine(rows_of_ranks())).tolist()


def all_reduced():
    """Each rank sums its own, then all-reduce."""
    x = mine(rows_of_ranks()).sum(0)
    dist.all_reduce(x)
    return x.tolist()


def read_parts(folders):
    """Bytes that this rank reads of each."""
    return [read_a_quarter(folder) for folder in folders]


def mixed(folder):
    """Two saves by DCP; rank 0's file of the second among the first's."""
    import shutil

    from torch.distributed import checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    rank, ranks = place()
    mesh = init_device_mesh("cpu", (ranks,))

    def state(value):
        full = torch.full((5, 2), value)
        return {"w": distribute_tensor(full, mesh, [Shard(0)])}

    for name, value in (("one", 1.0), ("two", 2.0)):
        dcp.save(state(value), checkpoint_id=folder / name)
    if rank == 0:
        file = "__0_0.distcp"
        shutil.copy(folder / "two" / file, folder / "one" / file)
    dist.barrier()
    into = state(0.0)
    dcp.load(into, checkpoint_id=folder / "one")
    return into["w"].full_tensor()[:, 0].tolist()
