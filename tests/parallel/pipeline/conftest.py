"""Ranks that are there at once."""

import pytest

from llmnotes.parallel.data_parallel import run


@pytest.fixture
def on(processes):
    """on(4, function, *args): what four ranks find."""
    return lambda ranks, function, *args: run(
        function, ranks, *args, processes=processes
    )
