"""One step of GPT-2, shared by threads, tasks or processes."""

from llmnotes.parallel.gpt2_parallel.forkjoin import ForkJoin
from llmnotes.parallel.gpt2_parallel.team import (
    Team,
    dynamic,
    in_blocks,
    in_turns,
)
