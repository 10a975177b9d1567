"""The watching executor finds what is planted, and nothing else."""

import numpy as np
import pytest
import torch
from numba import cuda
from numpy import float32

from llmnotes.cuda import launch
from llmnotes.cuda.trace import Trace


@launch.kernel
def reverse(numbers, with_barrier):
    """Reverse within a block, through shared memory."""
    i = cuda.threadIdx.x
    tile = cuda.shared.array(4, float32)
    tile[i] = numbers[cuda.grid(1)]
    if with_barrier:
        cuda.syncthreads()
    numbers[cuda.grid(1)] = tile[3 - i]


def run(kernel, grid, block, *arguments):
    with launch.using(Trace()) as trace:
        launch.launch(kernel, grid, block, *arguments)
    return trace


def test_with_its_barrier_a_kernel_is_clean_and_counted():
    numbers = torch.arange(8.0)
    trace = run(reverse, 2, 4, numbers, True)
    assert numbers.tolist() == [3, 2, 1, 0, 7, 6, 5, 4]
    assert (trace.loads, trace.stores, trace.races) == (8, 8, [])


def test_a_missing_barrier_is_a_race_in_words():
    trace = run(reverse, 2, 4, torch.arange(8.0), False)
    assert "shared array 0, element" in trace.races[0]
    assert "block (0, 0, 0)" in trace.races[0]


def test_shared_memory_starts_as_nan():
    numbers = torch.arange(8.0)
    run(reverse, 2, 4, numbers, False)
    assert numbers.isnan().any()


@launch.kernel
def everyone_writes(total):
    """Every block adds to one number."""
    total[0] += 1


@launch.kernel
def read_what_another_block_writes(numbers):
    """Block 0 reads element 1, which block 1 writes."""
    numbers[cuda.blockIdx.x] = numbers[(cuda.blockIdx.x + 1) % 2]


@pytest.mark.parametrize(
    "kernel", [everyone_writes, read_what_another_block_writes]
)
def test_blocks_that_share_an_element_race(kernel):
    assert run(kernel, 2, 1, torch.zeros(2)).races


@launch.kernel
def half_the_threads_wait(numbers):
    """A barrier inside a branch."""
    if cuda.threadIdx.x < 2:
        cuda.syncthreads()
    numbers[cuda.threadIdx.x] = 1


def test_a_barrier_that_some_threads_skip_is_reported():
    trace = run(half_the_threads_wait, 1, 4, torch.zeros(4))
    assert trace.races == ["a barrier that not all threads reach"]


@launch.kernel
def transpose(source, target):
    """Views of views still name the element they touch."""
    target.T[cuda.threadIdx.y][cuda.threadIdx.x] = source[
        cuda.threadIdx.y, cuda.threadIdx.x
    ]


def test_views_and_transposes_keep_their_elements():
    source, target = torch.randn(3, 2), torch.zeros(2, 3)
    trace = run(transpose, 1, (2, 3), source, target)
    assert torch.equal(target, source.T)
    assert (trace.loads, trace.stores, trace.races) == (6, 6, [])


@launch.kernel
def out_of_bounds(numbers):
    """One thread too many."""
    numbers[cuda.threadIdx.x] = 1


def test_an_error_in_a_kernel_comes_out():
    with pytest.raises(IndexError):
        run(out_of_bounds, 1, 3, np.zeros(2, np.float32))
