"""The compiled scan as a function of tensors, with its gradient.

    CHUNK = tokens between two states that forward keeps for backward
    marks = the states it keeps

Sources
- Gu and Dao 2023, "Mamba", arXiv 2312.00752, §3.3.2.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numba
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llmnotes.checks import check_sizes, checked
from llmnotes.models.mamba.loops import backward_worker, forward_worker
from llmnotes.models.mamba.scan import begin, check_steps
from llmnotes.once import once
from llmnotes.precision import as_written, wide, without_autocast

CHUNK = 32
COMPILING = Lock()


def on_all_cores(worker, *args) -> None:
    """Run worker(number, workers, *args) on as many threads as torch has."""
    workers = torch.get_num_threads()
    with COMPILING:  # numba does not bear compiling in two threads at once
        call = 0, workers, *args
        worker.compile(tuple(numba.typeof(x) for x in call))
    if workers == 1:
        worker(0, 1, *args)
        return
    with ThreadPoolExecutor(workers) as pool:
        running = [
            pool.submit(worker, number, workers, *args)
            for number in range(workers)
        ]
    for one in running:
        one.result()  # raises what the worker raised


class Scan(torch.autograd.Function):
    """Ties the two passes together, for contiguous tensors of one type."""

    @staticmethod
    @without_autocast
    def forward(ctx, x, delta, A, B, C, start, first, chunk):
        """Y and the last state; saves a state for every `chunk` tokens."""
        at, last, y = halvings(A), turned(start), torch.empty_like(x)
        pieces = -(-x.shape[1] // chunk)
        marks = x.new_empty(x.shape[0], pieces, *at.shape)
        arrays = x, delta, at, B, C, first, y, last, marks
        on_all_cores(forward_worker, *map(plain, arrays), chunk)
        ctx.save_for_backward(x, delta, A, B, C, first, marks)
        ctx.chunk = chunk
        return y, turned(last)

    @staticmethod
    @once
    @without_autocast
    def backward(ctx, dy, dlast):
        """Gradients of the six tensors, and nothing for the rest."""
        x, delta, A, B, C, first, marks = ctx.saved_tensors
        at, dh = halvings(A), turned(dlast)
        grads = torch.empty_like(x), torch.empty_like(x), dh
        workers = torch.get_num_threads()
        sums = [x.new_zeros(workers, *one.shape) for one in (at, B, C)]
        arrays = x, delta, at, B, C, first, dy.contiguous(), marks
        on_all_cores(
            backward_worker,
            *map(plain, arrays),
            tuple(map(plain, grads)),
            tuple(map(plain, sums)),
            ctx.chunk,
        )
        da, db, dc = (one.sum(0) for one in sums)
        dx, ddelta, dh = grads
        return dx, ddelta, da.T, db, dc, turned(dh), None, None


def plain(x: Tensor):
    """The same memory as numba reads it."""
    return x.detach().numpy()


def ends(x: Tensor) -> Tensor:
    """The least and the largest number, by numpy.

    PyTorch would look with all its threads, and these wait for more work, for
    milliseconds, on the cores that the loops are about to need.
    """
    numbers = plain(wide(x))
    return torch.tensor([numbers.min(), numbers.max()])


def halvings(A: Tensor) -> Tensor:
    """A, (state, width), for powers of 2 instead of e."""
    return A.T.contiguous() / math.log(2)


def turned(x: Tensor) -> Tensor:
    """States with their last two axes exchanged, in memory of their own."""
    return x.transpose(1, 2).clone(memory_format=torch.contiguous_format)


@checked
def selective_scan(
    x: Float[Tensor, "batch length width"],
    delta: Float[Tensor, "batch length width"],
    A: Float[Tensor, "width state"],
    B: Float[Tensor, "batch length state"],
    C: Float[Tensor, "batch length state"],
    *,
    start: Float[Tensor, "batch width state"] | None = None,
    first: Bool[Tensor, "batch length"] | None = None,
    chunk: int = CHUNK,
) -> tuple[
    Float[Tensor, "batch length width"], Float[Tensor, "batch width state"]
]:
    """`scan.selective_scan` on all cores, differentiable once.

    All numbers have to be finite. The first call compiles for some seconds.

    Raises `ValueError` as `scan.selective_scan` does, and for tensors that
    are not on the CPU.
    """
    check_sizes(chunk=chunk)
    if x.device.type != "cpu":
        raise ValueError(f"x: got a tensor on {x.device}, expected the CPU")
    check_steps(ends(delta), ends(A))
    with as_written(x) as dtype:
        start = begin(x, A, start)
        given = [wide(one).contiguous() for one in (x, delta, A, B, C, start)]
        if first is None:
            first = torch.zeros(x.shape[:2], dtype=torch.bool)
        y, last = Scan.apply(*given, first.contiguous(), chunk)
        return y.to(dtype), last
