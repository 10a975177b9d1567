"""One model trained by several processes."""

from llmnotes.parallel.data_parallel.cores import PATIENCE, Cores, Worker, work
from llmnotes.parallel.data_parallel.memory import Living, held
from llmnotes.parallel.data_parallel.ranks import join, run
from llmnotes.parallel.data_parallel.traffic import Call, Traffic
from llmnotes.parallel.data_parallel.watch import RankError, Watch
