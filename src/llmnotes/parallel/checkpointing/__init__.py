"""Training that goes on after a crash, on any number of ranks."""

from llmnotes.parallel.checkpointing.background import Background
from llmnotes.parallel.checkpointing.checkpoints import Checkpoints
from llmnotes.parallel.checkpointing.counts import (
    MIXED,
    SINGLE,
    best_interval,
    checkpoint_bytes,
    lost_exactly,
    lost_share,
    mean_between,
    simulated,
)
from llmnotes.parallel.checkpointing.determinism import (
    around_a_ring,
    largest_error,
    one_after_another,
    pairwise,
    sum_in_order,
)
from llmnotes.parallel.checkpointing.disk import Disk
from llmnotes.parallel.checkpointing.index import Entry, Index, index_of
from llmnotes.parallel.checkpointing.meeting import Meeting
from llmnotes.parallel.checkpointing.parts import Part, flat, rows, whole
from llmnotes.parallel.checkpointing.reader import Reader
from llmnotes.parallel.checkpointing.replicas import (
    compare,
    fingerprint,
    flip,
)
from llmnotes.parallel.checkpointing.training import Training
