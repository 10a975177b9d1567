"""A group of one rank in this process, or of a thousand that are not there."""

import contextlib
import tempfile
from pathlib import Path

import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore


@contextlib.contextmanager
def one():
    """This process is the only rank."""
    with tempfile.TemporaryDirectory() as folder:
        store = dist.FileStore(str(Path(folder) / "store"), 1)
        with group("gloo", store, 1):
            yield


@contextlib.contextmanager
def group(backend, store, ranks):
    """A process group while the block runs."""
    dist.init_process_group(backend, store=store, rank=0, world_size=ranks)
    try:
        yield
    finally:
        dist.destroy_process_group()


def pretended(ranks):
    """Rank 0 of so many: collectives have their shapes, not their values."""
    return group("fake", FakeStore(), ranks)
