"""Where every number of a training step lies: 16 and 23 tensors.

    B, T      = batch, length: sequences, and tokens of each
    C, NH, L  = n_embd, n_head, n_layer
    V, rows   = vocab_size, and rows of its table: V, or V padded to Vp
    arena     = one flat array; each tensor is a view of a stretch of it
    offset    = how many numbers of the arena lie before a tensor

Names, shapes and order are those of llm.c. A matrix is stored (outputs,
inputs): a layer computes x·Wᵀ + b, and each output is one dot product of two
stretches of memory without gaps.

Sources
- Karpathy 2024, llm.c: train_gpt2.c, `ParameterTensors` and
  `ActivationTensors`.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from llmnotes.checks import check_sizes
from llmnotes.transformer.gpt.model import GPTConfig

Shapes = dict[str, tuple[int, ...]]
TOP = "wte", "wpe", "lnfw", "lnfb"  # parameters that no layer owns


def padded(vocab_size: int) -> int:
    """The next multiple of 128: 50,257 tokens get 50,304 rows."""
    check_sizes(vocab_size=vocab_size)
    return math.ceil(vocab_size / 128) * 128


def parameter_shapes(config: GPTConfig, rows: int | None = None) -> Shapes:
    """The 16 parameter tensors; without `rows` the table is not padded."""
    n, c = config.n_layer, config.n_embd
    return {
        "wte": (check_rows(config, rows), c),
        "wpe": (config.n_positions, c),
        "ln1w": (n, c),
        "ln1b": (n, c),
        "qkvw": (n, 3 * c, c),
        "qkvb": (n, 3 * c),
        "attprojw": (n, c, c),
        "attprojb": (n, c),
        "ln2w": (n, c),
        "ln2b": (n, c),
        "fcw": (n, 4 * c, c),
        "fcb": (n, 4 * c),
        "fcprojw": (n, c, 4 * c),
        "fcprojb": (n, c),
        "lnfw": (c,),
        "lnfb": (c,),
    }


def activation_shapes(
    config: GPTConfig, batch: int, length: int, rows: int | None = None
) -> Shapes:
    """The 23 activation tensors of `batch` sequences of `length` tokens."""
    check_sizes(batch=batch, length=length)
    b, t, n, c = batch, length, config.n_layer, config.n_embd
    heads, rows = config.n_head, check_rows(config, rows)
    return {
        "encoded": (b, t, c),
        "ln1": (n, b, t, c),
        "ln1_mean": (n, b, t),
        "ln1_rstd": (n, b, t),
        "qkv": (n, b, t, 3 * c),
        "atty": (n, b, t, c),
        "preatt": (n, b, heads, t, t),
        "att": (n, b, heads, t, t),
        "attproj": (n, b, t, c),
        "residual2": (n, b, t, c),
        "ln2": (n, b, t, c),
        "ln2_mean": (n, b, t),
        "ln2_rstd": (n, b, t),
        "fch": (n, b, t, 4 * c),
        "fch_gelu": (n, b, t, 4 * c),
        "fcproj": (n, b, t, c),
        "residual3": (n, b, t, c),
        "lnf": (b, t, c),
        "lnf_mean": (b, t),
        "lnf_rstd": (b, t),
        "logits": (b, t, rows),
        "probs": (b, t, rows),
        "losses": (b, t),
    }


def check_rows(config: GPTConfig, rows: int | None) -> int:
    """How many rows the table has; `ValueError` for fewer than tokens."""
    if rows is None:
        return config.vocab_size
    check_sizes(config.vocab_size, rows=rows)
    return rows


class Tensors(Mapping):
    """An arena of zeros, cut into named tensors that lie one after another.

    `tensors["qkvw"][3]` is a view: who writes into it writes the arena.
    Raises `KeyError` for a name that is not there.
    """

    def __init__(self, shapes: Shapes, dtype=np.float32):
        self.shapes = dict(shapes)
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        ends = np.cumsum([0, *sizes]).tolist()
        self.offsets = dict(zip(self.shapes, ends, strict=False))
        self.numbers = np.zeros(ends[-1], dtype)
        self.views = {
            name: self.numbers[start : start + size].reshape(shape)
            for (name, shape), start, size in zip(
                self.shapes.items(), ends, sizes, strict=False
            )
        }

    def __getitem__(self, name: str) -> np.ndarray:
        """The view called `name`."""
        return self.views[name]

    def __iter__(self) -> Iterator[str]:
        """Names in the order in which the tensors lie."""
        return iter(self.views)

    def __len__(self) -> int:
        """How many tensors there are."""
        return len(self.views)
