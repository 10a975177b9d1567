"""How much memory a step takes: `python -m …peak` prints two numbers.

The bytes of six arenas, and by how much the process had grown at its peak.
Loops are compiled, and everything is imported, before the first look.
"""

import gc
import math
from pathlib import Path

import numpy as np

from llmnotes.transformer.gpt import GPT_2_SMALL
from llmnotes.transformer.gpt2_by_hand import (
    GPT2,
    Tensors,
    activation_shapes,
    initial,
    loops,
    padded,
    parameter_shapes,
)
from tests.transformer.gpt2_by_hand import tiny

BATCH, LENGTH = 4, 64


def status(name):
    """VmRSS (now) or VmHWM (at the peak) of this process, in bytes."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text.split(f"{name}:")[1].split()[0])


def bytes_of(config, rows, batch, length):
    """Four arenas of the model, two of the activations, float32."""
    model = parameter_shapes(config, rows)
    acts = activation_shapes(config, batch, length, rows)
    counts = (sum(map(math.prod, x.values())) for x in (model, acts))
    return 4 * sum(n * times for n, times in zip(counts, (4, 2), strict=True))


def main():
    """Warm up, look, step, look."""
    small = GPT2(tiny.TINY, initial(tiny.TINY, 0, 128), loops)
    small.step(*tiny.ids())
    gc.collect()
    before = status("VmRSS")
    config, rows = GPT_2_SMALL, padded(GPT_2_SMALL.vocab_size)
    weights = Tensors(parameter_shapes(config, rows))
    draw = np.random.default_rng(0)
    for tensor in weights.values():
        for row in tensor.reshape(len(tensor), -1):
            row[:] = 0.02 * draw.standard_normal(row.size, np.float32)
    GPT2(config, weights, loops).step(*tiny.ids(config, BATCH, LENGTH))
    grown = status("VmHWM") - before
    print(bytes_of(config, rows, BATCH, LENGTH), grown)


if __name__ == "__main__":
    main()
