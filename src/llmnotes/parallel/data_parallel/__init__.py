"""One model trained by several processes."""

from llmnotes.parallel.data_parallel.buckets import Bucket, Buckets, agree
from llmnotes.parallel.data_parallel.cores import PATIENCE, Cores, Worker, work
from llmnotes.parallel.data_parallel.local import Outer
from llmnotes.parallel.data_parallel.memory import Living, held
from llmnotes.parallel.data_parallel.ranks import join, run
from llmnotes.parallel.data_parallel.rings import (
    ring_all_gather,
    ring_all_reduce,
    ring_reduce_scatter,
    tree_all_reduce,
)
from llmnotes.parallel.data_parallel.shares import (
    loss,
    seed_masks,
    share,
    weight,
)
from llmnotes.parallel.data_parallel.traffic import Call, Traffic
from llmnotes.parallel.data_parallel.watch import RankError, Watch
