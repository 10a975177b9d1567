"""A GPT-2 whose whole step is one graph of tasks.

Legend: as in `graph` and `tasks`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmnotes.parallel.gpt2_parallel.cutting import Cutter
from llmnotes.parallel.gpt2_parallel.halves import Loops
from llmnotes.parallel.gpt2_parallel.tasks import Done, Graph, execute
from llmnotes.transformer.gpt import GPTConfig
from llmnotes.transformer.gpt2_by_hand import GPT2, Tensors
from llmnotes.transformer.gpt2_by_hand.model import Ids


class InTasks:
    """Steps of a `GPT2` by threads, one for each set of kernels.

    A batch is cut into as many blocks of sequences as `blocks` says; by
    default one for each thread. `done` tells what the last step's threads
    did.
    """

    def __init__(
        self,
        config: GPTConfig,
        weights: Tensors,
        kernels: Sequence[Any] | None = None,
        blocks: int | None = None,
    ):
        self.kernels = list(kernels or [Loops(), Loops()])
        self.blocks = blocks
        self.model = GPT2(config, weights, self.kernels[0])
        self.graph: Graph | None = None
        self.shapes, self.done = None, list[Done]()

    def step(
        self,
        tokens: Ids,
        targets: Ids,
        lr: float = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> float:
        """Forward, backward and update in one go; the loss before it.

        Raises `RuntimeError`, before a parameter is changed, for a loss that
        is no number.
        """
        model = self.model
        model.begin_forward(tokens, targets)
        model.begin_backward()
        model.begin_update(lr, beta1, beta2, eps, weight_decay)
        model.dacts["losses"][:] = 1 / model.dacts["losses"].size
        self.done = execute(self.drawn(), self.kernels, model.tensors)
        model.loss = float(model.acts["losses"].mean(dtype=np.float64))
        model.steps += 1
        return model.loss

    def drawn(self) -> Graph:
        """The graph for batches of this shape; made once."""
        shapes = self.model.acts.shapes
        if self.shapes != shapes:
            blocks = self.blocks
            if blocks is None:  # never more than there are sequences
                blocks = min(len(self.kernels), shapes["losses"][0])
            cutter = Cutter(self.model.weights.shapes, shapes, blocks)
            layers, sets = self.model.config.n_layer, self.kernels[0].sets
            self.graph = Graph(cutter.step(layers, sets))
            self.shapes = shapes
        return self.graph
