"""How fast is it? Numbers that compare, and what each is divided by.

    FLOPs = multiplications and additions that the model needs, by its shape;
            what a program computes twice, or for nothing, does not count
    MFU   = model FLOPs utilisation: FLOPs per second, over those of the
            machine's peak
    strong scaling = the same work on more threads; weak = the work grows
            with them
    serial share   = what Amdahl's law would have stay on one thread

Sources
- Chowdhery et al. 2022, "PaLM", arXiv 2204.02311, appendix B (MFU).
- Amdahl 1967, "Validity of the Single Processor Approach", AFIPS.
- Karp and Flatt 1990, "Measuring Parallel Processor Performance", CACM 33.
"""

from collections.abc import Mapping, Sequence

from llmnotes.checks import check_sizes
from llmnotes.parallel.gpt2_parallel.graph import Piece, Task
from llmnotes.transformer.gpt import GPTConfig

UPDATE = 7  # AdamW reads w, g, m, v and writes w, m, v


def forward_flops(config: GPTConfig, batch: int, length: int) -> int:
    """2 for each multiply-add of a product; attention up to its own token.

    All other operations together are less than a hundredth of it.
    """
    check_sizes(batch=batch, length=length)
    c, tokens = config.n_embd, batch * length
    matrices = 12 * config.n_layer * c**2 + config.vocab_size * c
    pairs = batch * length * (length + 1) // 2
    return 2 * tokens * matrices + 2 * 2 * config.n_layer * c * pairs


def step_flops(config: GPTConfig, batch: int, length: int) -> int:
    """Forward, and twice that for backward."""
    return 3 * forward_flops(config, batch, length)


def task_flops(task: Task, shapes: Mapping[str, Sequence[int]]) -> int:
    """FLOPs of a task's products; 0 where it has none.

    `shapes` are those of all activations and parameters by name.
    """
    if task.name.startswith("matmul"):
        return 2 * rows_of(task, shapes) * outputs(task, shapes)
    if task.name.startswith("attention"):
        piece = next(p for p in task.arguments if "att" in p.name[:4])
        _, batch, heads, length, _ = named(shapes, "att")
        width = named(shapes, "ln1")[-1]
        mine = batch if piece.start is None else piece.stop - piece.start
        forward = 2 * mine * width * length * (length + 1)
        return forward * (2 if "backward" in task.name else 1)
    return 0


def named(shapes: Mapping[str, Sequence[int]], name: str) -> Sequence[int]:
    """The shape of a tensor, or of what it is the gradient of."""
    return shapes[name] if name in shapes else shapes[name.removeprefix("d")]


def rows_of(task: Task, shapes: Mapping[str, Sequence[int]]) -> int:
    """Tokens that a product's task goes through."""
    for piece in task.arguments:
        if isinstance(piece, Piece) and is_act(piece, shapes):
            shape = inner(piece, shapes)
            first = shape[0] if piece.start is None else (
                piece.stop - piece.start
            )  # fmt: skip
            return first * shape[1]
    raise ValueError(f"task: got {task.name} without an activation")


def is_act(piece: Piece, shapes: Mapping[str, Sequence[int]]) -> bool:
    """Whether a piece is one of (batch, length, width)."""
    return len(inner(piece, shapes)) == 3


def inner(piece: Piece, shapes: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """The shape of one layer."""
    shape = named(shapes, piece.name)
    return shape if piece.layer is None else shape[1:]


def outputs(task: Task, shapes: Mapping[str, Sequence[int]]) -> int:
    """Numbers of the weight that a product's task goes through."""
    for piece in task.arguments:
        if isinstance(piece, Piece) and len(inner(piece, shapes)) == 2:
            rows, columns = inner(piece, shapes)
            if "weight" in task.name:
                first, last = task.arguments[-2:]
                rows = last - first
            return rows * columns
    raise ValueError(f"task: got {task.name} without a weight")


def update_bytes(parameters: int, width: int = 4) -> int:
    """Bytes that AdamW moves to and from memory, at least."""
    return UPDATE * width * parameters


def amdahl(serial: float, threads: int) -> float:
    """Times as fast, if a share of the work stays on one thread."""
    return 1 / (serial + (1 - serial) / threads)


def serial_share(gain: float, threads: int) -> float:
    """The share that Amdahl's law needs to explain a gain."""
    return (1 / gain - 1 / threads) / (1 - 1 / threads)


def strong(one: float, many: float, threads: int) -> float:
    """Efficiency: seconds of one thread over those of all together."""
    return one / (threads * many)


def weak(one: float, many: float) -> float:
    """Efficiency where each thread has as much work as the one had."""
    return one / many
