"""One model trained by several processes."""

from llmnotes.parallel.data_parallel.cores import PATIENCE, Cores, Worker, work
