"""Other processes, forked from one that has imported everything: quick.

A process started by spawn imports torch for seconds; one that the fork server
makes is there in hundredths. Whatever needs ranks, cores or a child to kill
takes the fixture `processes`, so that there is one server in a worker.
"""

import multiprocessing

import pytest

# What a child would wait for: libraries, and the modules under test.
LOADED = [
    "torch",
    "torch._dynamo",
    "pytest",
    "hypothesis",
    "tests.forked",
    "llmnotes.train",
    "llmnotes.parallel.data_parallel.cores",
    "llmnotes.transformer.gpt.fused_recipe",
    "llmnotes.transformer.gpt.muon",
]


@pytest.fixture(scope="session")
def processes():
    """A context of multiprocessing, with Process, Event, Barrier and so on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    return context
