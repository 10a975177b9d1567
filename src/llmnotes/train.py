"""The training loop: a task in, a trained model and its history out.

    config = all numbers of a run, see `TrainConfig`
    task   = what is learned, see `Task`; text is `LanguageModelling`
    loss   = mean cross-entropy, nats per token

A language model is any `nn.Module` that maps token numbers (batch, length)
to logits (batch, length, vocab).

Sources
- Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization",
  arXiv 1711.05101 (AdamW).
- Brown et al. 2020, "GPT-3", arXiv 2005.14165, appendix B (β₂ = 0.95,
  λ = 0.1, clipping at 1.0, warm-up and cosine for language models).
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from llmnotes import checkpoint, data
from llmnotes.modes import evaluating
from llmnotes.progress import Meter
from llmnotes.run import History, Run, as_json
from llmnotes.stopping import hold, stop_on_ctrl_c
from llmnotes.task import IGNORED, Task, a_loss, weighed
from llmnotes.train_config import TrainConfig

EVALUATION = 2**62  # batches from here on are never trained on


def loss(
    model: nn.Module,
    inputs: Int[Tensor, "batch length"],
    targets: Int[Tensor, "batch length"],
) -> Float[Tensor, ""]:
    """Mean cross-entropy per token, in nats; computed in float32 or more.

    Targets of -100 do not count.
    """
    logits = model(inputs)
    wide = torch.promote_types(logits.dtype, torch.float32)
    return F.cross_entropy(
        logits.flatten(0, 1).to(wide), targets.flatten().long()
    )


def learning_rate(step: int, config: TrainConfig) -> float:
    """The learning rate of a step, counted from 0."""
    return config.rate(step)


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW that shrinks matrices and leaves vectors alone.

    Biases and the gains of a norm have a job at their size; pulling them
    towards zero only distorts it.

    Raises `ValueError` for a model without anything to train.

    Source: Loshchilov & Hutter 2019.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError(
            f"model: got {type(model).__name__} without parameters that "
            "require gradients, expected at least one"
        )
    decay = config.weight_decay
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=tuple(map(float, config.betas)),  # AdamW refuses integers
        fused=True,
    )


def precision(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Mixed precision where the config asks for it."""
    low = config.dtype == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=low)


def update(model, optimizer, task, batch, config, step) -> Tensor:
    """One optimizer step. Returns its loss, still on the device."""
    for group in optimizer.param_groups:
        group["lr"] = config.rate(step)
    optimizer.zero_grad()
    device = next(model.parameters()).device
    total = 0
    for piece, divisor in weighed(task, batch, config.accumulate):
        with precision(config, device):
            part = a_loss(task.loss(model, piece)) / divisor
        part.backward()
        total = total + part.detach()
    if config.clip:
        groups = optimizer.param_groups
        trained = [p for group in groups for p in group["params"]]
        clip_grad_norm_(trained, config.clip)
    optimizer.step()
    return total


def fit(
    model: nn.Module,
    task: Task,
    config: TrainConfig,
    *,
    optimizer: Any = None,
    enough: float = -math.inf,
    final: Callable[[], float] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    about: dict | None = None,
) -> History:
    """Train a model in place, on the device it is on; AdamW by default.

    With a folder `out`, a checkpoint is written before the first step, at
    every evaluation and on Ctrl-C, and the curve so far as curve.svg.
    `resume` goes on from the newest one, to the same bits as if nothing had
    happened, and starts where there is none. With more `steps` than it
    began with, a run is made longer: the rate then follows the schedule of
    a run of that length from the step where it is, so after a run that had
    ended it rises at once, and a warning says from where to where. An
    evaluation of at most `enough` ends the run early. `final` judges the
    trained model, by default its last evaluation does. `progress` shows a
    bar and the curve on stderr. `about`, anything JSON can hold, goes into
    checkpoints.

    Raises `ValueError` for checkpoints of another run, for a folder in which
    one is writing and for an optimizer or a model whose state cannot be
    saved, `RuntimeError` when the disk is full or a loss, a weight or the
    optimizer's state is no longer finite, which is not saved,
    `KeyboardInterrupt` after the save that Ctrl-C asks for.
    """
    if optimizer is None:
        optimizer = adamw(model, config)
    if out is not None:  # complains before there is a folder
        checkpoint.contents(0, model, optimizer, as_json("about", about))
    with hold(out):
        folder = None if out is None else Path(out)
        run = Run(model, task, optimizer, config, folder, about)
        run.begin(resume)
        with stop_on_ctrl_c(folder) as asked, Meter(run, progress) as meter:
            steps(run, enough, final, asked, meter)
            run.end(final)  # if it was at its end, or good enough
    return run.history


def steps(run: Run, enough: float, final, asked, meter, way=None) -> None:
    """The loop itself: from the step a run is at to the last one.

    A `way` takes a step in the place of `update`, on several ranks for one.
    """
    config, task, history = run.config, run.task, run.history
    forward = torch.compile(run.model) if config.compile else run.model
    run.model.train()
    for step in range(run.step, config.steps):
        if history and history[-1].validation_loss <= enough:
            break
        batch = task.batch(step)
        take = way or update
        part = take(forward, run.optimizer, task, batch, config, step)
        run.add(part)
        meter.tick(part)
        if run.step % config.eval_every == 0 or run.step == config.steps:
            run.note(config.rate(step), lambda: judge(forward, task))
            if run.step == config.steps:
                run.end(final)  # before it is saved: it may be no number
            meter.tell()
            run.save()
        if asked.is_set():
            raise run.stopped()


def judge(model: nn.Module, task: Task) -> Any:
    """What the task says about the model, which it leaves as it was."""
    with evaluating(model):
        return task.evaluate(model)


@dataclass(frozen=True, eq=False)
class LanguageModelling(Task):
    """Predict every token of random blocks from those before it.

    Raises `ValueError` for texts that are shorter than a block, or not one
    row of whole numbers from 0.
    """

    train_ids: data.Ids
    validation_ids: data.Ids
    config: TrainConfig
    unit = "tokens"
    measure = "loss in nats per token"

    def __post_init__(self):
        for name in ("train_ids", "validation_ids"):
            ids = data.as_ids(name, getattr(self, name))
            data.check_block(ids, self.config.block, name)
            object.__setattr__(self, name, ids)

    @property
    def size(self) -> int:
        """Tokens in one step."""
        return self.config.batch_size * self.config.block

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step."""
        return batch(self.train_ids, self.config, step)

    def loss(self, model: nn.Module, batch: tuple) -> Float[Tensor, ""]:
        """Mean cross-entropy per token."""
        return loss(model, *batch)

    def evaluate(self, model: nn.Module) -> float:
        """Loss on `eval_batches` batches of the validation text."""
        return evaluate(model, self.validation_ids, self.config)

    def facts(self) -> dict:
        """A checksum of both texts."""
        check = 0
        for ids in (self.train_ids, self.validation_ids):
            check = zlib.crc32(ids.cpu().contiguous().numpy(), check)
        return {"text": check}


def batch(ids: data.Ids, config: TrainConfig, step: int) -> tuple:
    """Inputs and targets of a step."""
    return data.batch(
        ids,
        batch_size=config.batch_size,
        block=config.block,
        seed=config.seed,
        step=step,
    )


def mean_loss(model, batches, config) -> float:
    """Mean loss per target over (inputs, targets), without dropout.

    Targets of -100 do not count, and a batch of nothing else is skipped.
    """
    total, tokens = 0.0, 0
    with evaluating(model):
        for inputs, targets in batches:
            count = int((targets != IGNORED).sum())
            if not count:
                continue
            with precision(config, inputs.device):
                part = loss(model, inputs, targets)
            total += part.double() * count
            tokens += count
    return float(total / tokens) if tokens else math.nan


def evaluate(model: nn.Module, ids: data.Ids, config: TrainConfig) -> float:
    """Loss on `eval_batches` random batches, the same ones every time."""
    numbers = range(EVALUATION, EVALUATION + config.eval_batches)
    return mean_loss(model, (batch(ids, config, i) for i in numbers), config)


def evaluate_all(
    model: nn.Module, ids: data.Ids, config: TrainConfig
) -> float:
    """Loss on all of `ids`: every token but the first predicted once.

    The text is cut into blocks; a token at the head of a block is predicted
    from one token only, as it is in training.
    """
    ids = data.row("ids", ids)
    data.check_block(ids, config.block)
    whole = (len(ids) - 1) // config.block * config.block
    inputs, targets = ids[:-1], ids[1:]
    size = (-1, config.block)
    batches = list(
        zip(
            inputs[:whole].view(size).split(config.batch_size),
            targets[:whole].view(size).split(config.batch_size),
            strict=True,
        )
    )
    if whole < len(inputs):  # what is left is shorter than a block
        batches.append((inputs[None, whole:], targets[None, whole:]))
    return mean_loss(model, batches, config)


def train(
    model: nn.Module,
    train_ids: data.Ids,
    validation_ids: data.Ids,
    config: TrainConfig,
    *,
    task: type[LanguageModelling] = LanguageModelling,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    about: dict | None = None,
) -> History:
    """Train a language model in place, on the device it is on: see `fit`.

    The texts are tensors, NumPy arrays or lists of whole numbers, of any
    integer type. `task` is what is learned from them. `final_loss` is that
    on all of the validation text.

    Raises `ValueError` for texts shorter than a block, and what `fit` does.
    """
    optimizer = adamw(model, config)  # complains of an empty model
    device = next(model.parameters()).device
    named = {"train_ids": train_ids, "validation_ids": validation_ids}
    texts = [data.row(name, ids).to(device) for name, ids in named.items()]
    learned = task(*texts, config)
    return fit(
        model, learned, config, optimizer=optimizer,
        final=lambda: evaluate_all(model, learned.validation_ids, config),
        out=out, resume=resume, progress=progress, about=about,
    )  # fmt: skip
