"""Other processes, forked from one that has imported everything: quick.

A process started by spawn imports torch for seconds; one that the fork server
makes is there in hundredths. Whatever needs ranks, cores or a child to kill
takes the fixture `processes`, so that there is one server in a worker.
"""

import multiprocessing
import sys

import pytest

# What a child would wait for: libraries, and the modules under test.
LOADED = [
    "tests.ranked_runs",
    "tests.parallel.pipeline.three_ranks",
    "torch",
    "torch._dynamo",
    "torch.distributed._functional_collectives",
    "torch.distributed.fsdp",
    "torch.distributed.pipelining",
    "torch.distributed.tensor.parallel",
    "pytest",
    "hypothesis",
    "tests.forked",
    "llmnotes.train",
    "llmnotes.models.moe.ranks",
    "llmnotes.parallel.data_parallel",
    "llmnotes.parallel.zero",
    "tests.parallel.zero.ranks",
    "llmnotes.parallel.pipeline",
    "llmnotes.parallel.gpt2_parallel",
    "tests.parallel.gpt2_parallel.golden",
    "tests.parallel.gpt2_parallel.ranked",
    "llmnotes.parallel.gradient_checkpointing",
    "tests.parallel.gradient_checkpointing.shared",
    "tests.parallel.data_parallel.calls",
    "tests.parallel.data_parallel.ranked",
    "tests.parallel.data_parallel.traps",
    "tests.parallel.checkpointing.ranked",
    "llmnotes.transformer.training_step.fused_recipe",
    "tests.parallel.tensor_parallel.split",
    "llmnotes.transformer.pretraining.muon",
]


@pytest.fixture(scope="session")
def processes():
    """A context of multiprocessing, with Process, Event, Barrier and so on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    return context


def tell_modules(code, pipe):
    """In the other process: run the code, tell what is imported then."""
    exec(code, {})
    pipe.send(set(sys.modules))


@pytest.fixture(scope="session")
def modules_after(processes):
    """The names of all modules that are there after some code has run.

    Those that the server holds count as well. So a question about one of
    them, such as torch, needs a Python of its own.
    """

    def ask(code):
        ours, theirs = processes.Pipe(duplex=False)
        process = processes.Process(target=tell_modules, args=(code, theirs))
        process.start()
        theirs.close()
        try:
            return ours.recv()
        finally:
            process.join()

    return ask
