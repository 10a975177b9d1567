"""One step of GPT-2, shared by threads, tasks or processes."""

from llmnotes.parallel.gpt2_parallel.cutting import Cutter
from llmnotes.parallel.gpt2_parallel.graph import (
    Bound,
    Piece,
    Task,
    bound,
    critical_path,
    needs,
)
from llmnotes.parallel.gpt2_parallel.halves import Loops, Plain
from llmnotes.parallel.gpt2_parallel.tasks import (
    Done,
    Graph,
    execute,
    in_order,
)
from llmnotes.parallel.gpt2_parallel.together import InTasks
