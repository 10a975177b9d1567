"""The fork-join kernels: against NumPy, and against themselves."""

import numpy as np
import pytest

from llmnotes.parallel.gpt2_parallel import ForkJoin
from llmnotes.transformer.gpt2_by_hand import reference
from tests.parallel.gpt2_parallel.kernel_calls import SHAPES, called


@pytest.fixture(scope="module")
def kernels():
    both = {threads: ForkJoin(threads) for threads in (1, 2, 3)}
    yield both
    for one in both.values():
        one.close()


@pytest.mark.parametrize("name", SHAPES)
def test_a_kernel_is_as_exact_as_numpy(name, kernels):
    exact = called(reference, name, np.float64)
    plain, ours = called(reference, name), called(kernels[2], name)
    for i, (x, y, z) in enumerate(zip(exact, plain, ours, strict=True)):
        allowed = 2 * np.abs(x - y).max() + 3e-7 * np.abs(x).max()
        assert np.abs(x - z).max() <= allowed, i


@pytest.mark.parametrize("name", SHAPES)
def test_the_number_of_threads_does_not_change_a_bit(name, kernels):
    one = called(kernels[1], name)
    for threads in (2, 3):
        for x, y in zip(one, called(kernels[threads], name), strict=True):
            assert np.array_equal(x, y), threads
