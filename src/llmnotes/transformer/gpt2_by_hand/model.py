"""A GPT-2 whose step is nothing but arrays and the calls that fill them.

    weights  = the 16 parameter tensors; grads, m and v lie like them
    acts     = the 23 activation tensors; dacts lies like them
    tensors  = all of them by name, and the numbers that kernels ask for
    there    = the calls of the way forward; back = those of the way back
    loss     = mean of `losses`, nats per token
    steps    = how many updates were made

Four arenas as large as the model and two as large as the activations: that
is all the memory of a step.

Sources
- Karpathy 2024, llm.c: train_gpt2.c, `GPT2`.
"""

import math
from typing import Any

import numpy as np

from llmnotes.transformer.gpt.model import GPTConfig
from llmnotes.transformer.gpt2_by_hand import calls, reference
from llmnotes.transformer.gpt2_by_hand.layout import (
    Tensors,
    activation_shapes,
    parameter_shapes,
)

Ids = Any  # (batch, length) integers, as NumPy, torch or lists have them


class GPT2:
    """The model in one precision, that of its weights.

    `kernels` compute; `weights` are used as they lie, not copied, and an
    update changes them. Raises `ValueError` for a config that no kernel
    computes (dropout, another epsilon) and weights of other shapes, or in
    another precision than float32 and float64.
    """

    def __init__(self, config: GPTConfig, weights: Tensors, kernels=reference):
        check_config(config)
        check_weights(config, weights)
        self.config, self.weights, self.kernels = config, weights, kernels
        self.rows = len(weights["wte"])
        self.there = calls.forward(config.n_layer)
        self.back = calls.backward(config.n_layer)
        self.loss, self.steps = None, 0
        self.broken = None  # a loss of these gradients that was no number
        self.acts = self.dacts = self.grads = self.m = self.v = None
        self.tensors = {**weights, "params": weights.numbers}
        self.tensors["V"] = config.vocab_size

    def forward(self, tokens: Ids, targets: Ids | None = None) -> None:
        """Fill the activations; `loss` is None without targets.

        Raises `ValueError`, before anything is written, for ids that are not
        tokens and for more tokens than the context has room for.
        """
        self.begin_forward(tokens, targets)
        *scores, losses = self.there
        calls.run(scores, self.kernels, self.tensors)
        if targets is not None:
            calls.run([losses], self.kernels, self.tensors)
            self.loss = float(self.acts["losses"].mean(dtype=np.float64))

    def begin_forward(self, tokens: Ids, targets: Ids | None = None) -> None:
        """Check the ids, make room, and forget the loss."""
        tokens = np.asarray(tokens)
        targets = None if targets is None else np.asarray(targets)
        check_ids(self.config, {"tokens": tokens, "targets": targets})
        self.make_room(*tokens.shape)
        self.loss, self.tensors["inputs"] = None, ready(tokens)
        if targets is not None:
            self.tensors["targets"] = ready(targets)

    def make_room(self, batch: int, length: int) -> None:
        """Activations of this size; those that fit are used again."""
        shapes = activation_shapes(self.config, batch, length, self.rows)
        if self.acts is None or self.acts.shapes != shapes:
            self.acts, self.dacts = self.zeros(shapes), None
            self.tensors.update(self.acts)

    def zeros(self, shapes) -> Tensors:
        """An arena of zeros in the precision of the weights."""
        return Tensors(shapes, self.weights.numbers.dtype)

    def zero_grad(self) -> None:
        """Forget the gradients: `backward` adds to what is there."""
        if self.grads is None:
            self.grads = self.zeros(self.weights.shapes)
            self.tensors["grads"] = self.grads.numbers
            self.tensors.update(renamed("d", self.grads))
        self.grads.numbers[:] = 0
        self.broken = None

    def backward(self, share: float = 1.0) -> None:
        """Add the gradient of share · loss to those of the parameters.

        Raises `RuntimeError` unless a loss was computed before.
        """
        if self.loss is None:
            raise RuntimeError(
                "backward: got no loss, expected forward(tokens, targets) "
                "before it"
            )
        self.begin_backward()
        if not math.isfinite(self.loss):
            self.broken = self.loss
        self.dacts.numbers[:] = 0
        self.dacts["losses"][:] = share / self.acts["losses"].size
        calls.run(self.back, self.kernels, self.tensors)

    def begin_backward(self) -> None:
        """Make room for gradients."""
        if self.grads is None:
            self.zero_grad()
        if self.dacts is None:
            self.dacts = self.zeros(self.acts.shapes)
            self.tensors.update(renamed("d", self.dacts))

    def update(
        self,
        lr: float = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """Move all parameters by one step of AdamW.

        Raises `RuntimeError`, before anything is written, if the loss, or
        that of a batch before it whose gradient was added, is no number, or
        there are no gradients; `ValueError` for a rate that is no number.
        """
        if self.grads is None:
            raise RuntimeError("update: got no gradients, expected backward()")
        loss = self.loss if self.broken is None else self.broken
        if loss is None or not math.isfinite(loss):
            raise RuntimeError(
                f"loss: got {loss}, expected a number; no parameter was "
                f"changed, {self.steps} updates were made"
            )
        self.begin_update(lr, beta1, beta2, eps, weight_decay)
        calls.run(calls.update(), self.kernels, self.tensors)
        self.steps += 1

    def begin_update(self, *numbers: float) -> None:
        """Make room for moments, and put the numbers in their place."""
        check_finite(**dict(zip(calls.HYPERPARAMETERS, numbers, strict=False)))
        if self.m is None:
            self.m, self.v = (self.zeros(self.weights.shapes) for _ in "mv")
            self.tensors |= {"m": self.m.numbers, "v": self.v.numbers}
            self.tensors.update(renamed("m.", self.m))
            self.tensors.update(renamed("v.", self.v))
        numbers = (*numbers, self.steps + 1)
        self.tensors.update(zip(calls.HYPERPARAMETERS, numbers, strict=True))

    def step(self, tokens: Ids, targets: Ids, **options) -> float:
        """Forward, backward, update; the loss before the update."""
        self.forward(tokens, targets)
        self.zero_grad()
        self.backward()
        self.update(**options)
        return self.loss


def renamed(prefix: str, tensors: Tensors) -> dict[str, np.ndarray]:
    """The tensors, each under its name with a prefix."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def ready(ids: Ids) -> Ids:
    """Ids as kernels read them: int32, one after another."""
    return np.ascontiguousarray(ids, np.int32)


def check_config(config: GPTConfig) -> None:
    """Raise `ValueError` for what the kernels do not compute."""
    for name, expected in (
        ("dropout", 0.0),
        ("layer_norm_epsilon", reference.EPS),
    ):
        got = getattr(config, name)
        if got != expected:
            raise ValueError(f"{name}: got {got}, expected {expected}")


def check_weights(config: GPTConfig, weights: Tensors) -> None:
    """Raise `ValueError` unless the tensors are those of the config."""
    rows = max(config.vocab_size, weights.shapes.get("wte", (0,))[0])
    expected = parameter_shapes(config, rows)
    for name, shape in expected.items():
        got = weights.shapes.get(name)
        if got != shape:
            raise ValueError(f"{name}: got shape {got}, expected {shape}")
    if weights.numbers.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"weights: got {weights.numbers.dtype}, expected float32 or "
            "float64"
        )


def check_finite(**numbers: float) -> None:
    """Raise `ValueError` for a number that is none."""
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise ValueError(f"{name}: got {number}, expected a number")


def check_ids(config: GPTConfig, given: dict[str, Ids | None]) -> None:
    """Raise `ValueError` for ids that no kernel may be shown."""
    shape = given["tokens"].shape
    for name, ids in given.items():
        if ids is None:
            continue
        if not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"{name}: got {ids.dtype}, expected integers")
        if ids.ndim != 2 or ids.size == 0 or ids.shape != shape:
            wanted = shape if name == "targets" else "(batch, length)"
            raise ValueError(f"{name}: got {ids.shape}, expected {wanted}")
        if ids.shape[1] > config.n_positions:
            raise ValueError(
                f"{name}: got length {ids.shape[1]}, expected at most "
                f"n_positions = {config.n_positions}"
            )
        wrong = ids[(ids < 0) | (ids >= config.vocab_size)]
        if wrong.size:
            raise ValueError(
                f"{name}: got {wrong[0]}, expected 0 to vocab_size - 1 = "
                f"{config.vocab_size - 1}"
            )
