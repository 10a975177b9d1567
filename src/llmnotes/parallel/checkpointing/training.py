"""All that the next step of a training depends on.

    moments   = the optimizer's tensors, under the names of their weights
    scheduler = what sets the learning rate, and how often it was asked
    generator = random numbers of dropout or noise, drawn alike on all ranks
    examples  = how many were read: the position in the data
    step      = updates that were done

What is the same on all ranks is saved once. Where each needs numbers of its
own, all draw for the whole batch and take theirs: then no state belongs to a
rank, and their number may change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from llmnotes import optimizer_state
from llmnotes.weights import weights


@dataclass
class Training:
    """A model and all that moves it, at one point of a run."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    examples: int = 0
    step: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """Weights and moments by name: the very ones, not copies."""
        moments, _ = optimizer_state.collect(self.model, self.optimizer)
        return weights(self.model) | moments

    def facts(self) -> dict[str, Any]:
        """The rest, as JSON holds it."""
        _, moments = optimizer_state.collect(self.model, self.optimizer)
        return {
            "moments": moments,
            "scheduler": self.scheduler.state_dict(),
            "generator": bytes(self.generator.get_state()).hex(),
            "examples": self.examples,
            "step": self.step,
        }

    def put(self, tensors: Mapping[str, Tensor], facts: Mapping) -> None:
        """Go on from there. Raises `ValueError` for another model's state."""
        state = optimizer_state.read(tensors, facts["moments"])
        optimizer_state.check(
            self.model, self.optimizer, state, facts["moments"], "it"
        )
        with torch.no_grad():
            for name, weight in weights(self.model).items():
                weight.copy_(tensors[name])
        optimizer_state.put(self.model, self.optimizer, state)
        self.scheduler.load_state_dict(facts["scheduler"])
        rates = self.scheduler.get_last_lr()
        for group, rate in zip(
            self.optimizer.param_groups, rates, strict=True
        ):
            group["lr"] = rate  # a scheduler sets it only when it steps
        state = bytearray.fromhex(facts["generator"])
        self.generator.set_state(torch.frombuffer(state, dtype=torch.uint8))
        self.examples, self.step = facts["examples"], facts["step"]
