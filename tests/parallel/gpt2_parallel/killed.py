"""What torchrun starts in a test: rank 1 is killed, but once only.

torchrun ... -m tests.parallel.gpt2_parallel.killed FOLDER STEP
"""

import os
import sys

import numpy as np
import torch.distributed as dist

from llmnotes.parallel.data_parallel import join
from tests.parallel.gpt2_parallel import ranked


def main(folder, step):
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    with join():
        found, steps = ranked.trained(
            f"{folder}/run", 5, int(step) if first else None
        )
        if dist.get_rank() == 0:
            np.save(f"{folder}/weights.npy", found)
            print(f"{steps} steps")


if __name__ == "__main__":
    main(*sys.argv[1:])
