"""Ranks are started once for all that is asked of them."""

import pytest

from llmnotes.parallel.data_parallel import run
from tests.parallel.tensor_parallel import split


class Found(dict):
    """{ranks: what each of them found}, found when it is asked for."""

    def __init__(self, processes):
        super().__init__()
        self.processes = processes

    def __missing__(self, ranks):
        self[ranks] = run(
            split.everything, ranks, ranks, processes=self.processes
        )
        return self[ranks]


@pytest.fixture(scope="package")
def everything(processes):
    """All comparisons, by the number of ranks."""
    return Found(processes)


@pytest.fixture(scope="package")
def steps(processes):
    """What two ranks found that train."""
    return run(split.steps, 2, processes=processes)
