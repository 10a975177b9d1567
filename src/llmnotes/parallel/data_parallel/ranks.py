"""Ranks: processes that form a group, started here or by torchrun.

    rank  = number of a process, 0 to N − 1
    ranks = N, PyTorch's world_size

`run` starts them on this machine and brings back what they found; `join`
makes a process that torchrun has started a member of its group.
"""

import contextlib
import io
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import Any

import torch
import torch.distributed as dist
from torch import multiprocessing

from llmnotes.parallel.data_parallel.watch import RankError, Watch

PATIENCE = 60.0  # seconds that a collective waits for the slowest rank
UNGUARDED = "died (exit code 1)"
HINT = (
    "all died at once: in a script, call run below "
    'if __name__ == "__main__":, because each rank imports the script'
)
GRACE = 5.0  # seconds for the others to say how they ended


def run(
    function: Callable[..., Any],
    ranks: int,
    *args: Any,
    processes: BaseContext | None = None,
    patience: float = PATIENCE,
) -> list[Any]:
    """Call function(*args) on N ranks; returns what each returned, by rank.

    Inside, torch.distributed is ready (gloo, on the CPU, one thread a rank).
    `processes` is a context of multiprocessing, by default `context()`, for
    which the function must be importable: of a module, not typed at a prompt.

    Raises `ValueError` for less than one rank, and `RankError` that names the
    rank which failed or died, and why; then no process is left behind.
    """
    if ranks < 1:
        raise ValueError(f"ranks: got {ranks}, expected at least 1")
    processes = processes or context()
    with tempfile.TemporaryDirectory() as folder:
        job = ranks, os.path.join(folder, "store"), patience, function, args
        pipes, others = [], []
        for rank in range(ranks):
            ours, theirs = processes.Pipe(duplex=False)
            process = processes.Process(
                target=be, args=(rank, theirs, *job), daemon=True
            )
            process.start()
            theirs.close()
            pipes.append(ours)
            others.append(process)
        try:
            return collect(pipes, others)
        finally:
            for process in others:
                process.kill()
                process.join()


def context() -> BaseContext:
    """How ranks start: forked from a server that has imported torch already.

    The first start takes seconds, the next ones a tenth of one. Windows has
    no such server; there each rank imports torch itself.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([__name__])
    return found


def be(rank, pipe, ranks, path, patience, function, args) -> None:
    """What one process does: join, work, send what it found."""
    torch.set_num_threads(1)
    try:
        store = dist.FileStore(path, ranks)
        with Watch(dist.PrefixStore("watch", store), rank, ranks):
            with group("gloo", store, rank, ranks, patience):
                tell(pipe, "found", function(*args))
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, RankError):
            tell(pipe, "blames", str(error), text)
        else:
            tell(pipe, "failed", f"failed with {what}", text)


def tell(pipe, *what) -> None:
    """Send tensors by value: as handles they would end with this process."""
    pipe.send_bytes(pickled(what))


def pickled(what: tuple) -> bytes:
    """Anything, tensors included, as bytes."""
    file = io.BytesIO()
    torch.save(what, file)
    return file.getvalue()


@contextlib.contextmanager
def group(backend, store, rank, ranks, patience) -> Iterator[None]:
    """A process group for as long as the block runs.

    Who is quick does not leave before the slowest has come: that one would
    find nobody to connect to.
    """
    dist.init_process_group(
        backend, store=store, rank=rank, world_size=ranks,
        timeout=timedelta(seconds=patience),
    )  # fmt: skip
    store.set(f"joined/{rank}", "")
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # one died before it came
            joined = [f"joined/{r}" for r in range(ranks)]
            store.wait(joined, timedelta(seconds=GRACE))
        dist.destroy_process_group()


def collect(pipes: list, others: list) -> list[Any]:
    """Wait for all ranks; the first that fails ends the wait."""
    found, open_pipes = {}, dict(enumerate(pipes))
    while open_pipes:
        ready = wait(open_pipes.values(), GRACE if found.get("bad") else None)
        if not ready:
            break
        for rank, pipe in list(open_pipes.items()):
            if pipe in ready:
                open_pipes.pop(rank)
                found[rank] = heard(pipe, others[rank])
                if found[rank][0] != "found":
                    found["bad"] = True
    bad = found.pop("bad", False)
    if not bad:
        return [found[rank][1] for rank in range(len(pipes))]
    raise worst(found)


def heard(pipe, process) -> tuple:
    """What a rank sent, or that it died."""
    try:
        return torch.load(io.BytesIO(pipe.recv_bytes()), weights_only=False)
    except EOFError:
        process.join(GRACE)
        code = process.exitcode
        how = f"signal {-code}" if code and code < 0 else f"exit code {code}"
        return "died", f"died ({how})", ""


def worst(found: dict[int, tuple]) -> RankError:
    """The error that explains the others: a death, else a failure."""
    order = "died", "failed", "blames"
    bad = {r: x for r, x in found.items() if x[0] != "found"}
    first = min(bad, key=lambda rank: (order.index(bad[rank][0]), rank))
    trace = bad[first][2]
    lines = [said(rank, *bad[rank][:2]) for rank in [first, *bad]]
    lines = list(dict.fromkeys(lines))
    if len(bad) == len(found) and {x[1] for x in bad.values()} == {UNGUARDED}:
        lines.append(HINT)
    return RankError("\n".join([*lines, trace]).rstrip())


def said(rank: int, kind: str, what: str) -> str:
    """What is known of a rank, in one line that names it."""
    return what if kind == "blames" else f"rank {rank} {what}"


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return dist.is_torchelastic_launched()


@contextlib.contextmanager
def join(patience: float = 600.0) -> Iterator[torch.device]:
    """Join the group of torchrun, as its environment says; yields the device.

    Ranks with a GPU use NCCL, all others gloo.

    Raises `RankError` that names a rank which died, `ValueError` where
    torchrun has not set the environment.
    """
    names = "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ValueError(
            f"environment: got no {', '.join(missing)}, expected what "
            "torchrun sets; start with torchrun --nproc-per-node 2 -m llmnotes"
        )
    rank, ranks, local = (int(os.environ[name]) for name in names[:3])
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]),
        is_master=False, timeout=timedelta(seconds=patience),
    )  # fmt: skip
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"llmnotes/{again}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    with Watch(dist.PrefixStore("watch", store), rank, ranks):
        with group(backend, store, rank, ranks, patience):
            yield device
