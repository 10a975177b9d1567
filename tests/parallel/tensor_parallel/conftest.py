"""Ranks are started once for all that is asked of them."""

import pytest

from llmnotes.parallel.data_parallel import run
from tests.parallel.tensor_parallel import split

RANKS = (1, 2, 3, 4)


@pytest.fixture(scope="package")
def everything(processes):
    """{ranks: what each of them found}."""
    return {
        ranks: run(split.everything, ranks, ranks, processes=processes)
        for ranks in RANKS
    }


@pytest.fixture(scope="package")
def steps(processes):
    """What two ranks found that train."""
    return run(split.steps, 2, processes=processes)
