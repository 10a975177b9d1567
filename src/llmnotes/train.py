"""The training loop: batches in, a trained model and its history out.

    config                      = all numbers of a run, see `TrainConfig`
    learning_rate(step, config) = η_t
    loss                        = mean cross-entropy, nats per token

A language model is any `nn.Module` that maps token numbers (batch, length)
to logits (batch, length, vocab).

Sources
1. Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization",
   arXiv 1711.05101 (AdamW).
2. Loshchilov & Hutter 2017, "SGDR", arXiv 1608.03983 (the cosine).
3. Brown et al. 2020, "GPT-3", arXiv 2005.14165, appendix B (β₂ = 0.95,
   λ = 0.1, clipping at 1.0, warm-up and cosine for language models).
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from llmnotes import data
from llmnotes.progress import Meter
from llmnotes.run import History, Run, hold, stop_on_ctrl_c
from llmnotes.train_config import TrainConfig

EVALUATION = 2**62  # batches from here on are never trained on


def loss(
    model: nn.Module,
    inputs: Int[Tensor, "batch length"],
    targets: Int[Tensor, "batch length"],
) -> Float[Tensor, ""]:
    """Mean cross-entropy per token, in nats; computed in float32 or more."""
    logits = model(inputs)
    wide = torch.promote_types(logits.dtype, torch.float32)
    return F.cross_entropy(logits.flatten(0, 1).to(wide), targets.flatten())


def learning_rate(step: int, config: TrainConfig) -> float:
    """η_t: up in a line over `warmup` steps, then down to the minimum [2].

    Steps count from 0. The first step's rate is above zero, else that step
    would do nothing; the last step's is the minimum.
    """
    peak, low = config.learning_rate, config.min_learning_rate
    if step < config.warmup:
        return peak * (step + 1) / config.warmup
    span = max(1, config.steps - 1 - config.warmup)
    done = min(1.0, (step - config.warmup) / span)
    if config.schedule == "linear":
        return peak + (low - peak) * done
    return low + (peak - low) * (1 + math.cos(math.pi * done)) / 2


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW [1] that shrinks matrices and leaves vectors alone.

    Biases and the gains of a norm have a job at their size; pulling them
    towards zero only distorts it.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
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


def update(model, optimizer, inputs, targets, config, step) -> Tensor:
    """One optimizer step. Returns its loss, still on the device."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, config)
    optimizer.zero_grad()
    pieces = config.accumulate
    total = torch.zeros((), device=inputs.device)
    for piece in zip(inputs.chunk(pieces), targets.chunk(pieces), strict=True):
        with precision(config, inputs.device):
            part = loss(model, *piece) / pieces
        part.backward()
        total += part.detach()
    if config.clip:
        groups = optimizer.param_groups
        trained = [p for group in groups for p in group["params"]]
        clip_grad_norm_(trained, config.clip)
    optimizer.step()
    return total


def batch(ids: Tensor, config: TrainConfig, step: int) -> tuple:
    """Inputs and targets of a step."""
    return data.batch(
        ids,
        batch_size=config.batch_size,
        block=config.block,
        seed=config.seed,
        step=step,
    )


@torch.no_grad()
def mean_loss(model, batches, config) -> float:
    """Mean loss per token over (inputs, targets), without dropout."""
    was_training = model.training
    model.eval()
    total, tokens = 0.0, 0
    for inputs, targets in batches:
        with precision(config, inputs.device):
            part = loss(model, inputs, targets)
        total += part.double() * targets.numel()
        tokens += targets.numel()
    model.train(was_training)
    return float(total / tokens)


def evaluate(
    model: nn.Module, ids: Int[Tensor, "tokens"], config: TrainConfig
) -> float:
    """Loss on `eval_batches` random batches, the same ones every time."""
    numbers = range(EVALUATION, EVALUATION + config.eval_batches)
    return mean_loss(model, (batch(ids, config, i) for i in numbers), config)


def evaluate_all(
    model: nn.Module, ids: Int[Tensor, "tokens"], config: TrainConfig
) -> float:
    """Loss on all of `ids`: every token but the first predicted once.

    The text is cut into blocks; a token at the head of a block is predicted
    from one token only, as it is in training.
    """
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
    train_ids: Int[Tensor, "train"],
    validation_ids: Int[Tensor, "validation"],
    config: TrainConfig,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    about: dict | None = None,
) -> History:
    """Train a model in place, on the device it is on.

    With a folder `out`, a checkpoint is written before the first step, at
    every evaluation and on Ctrl-C, and the curve so far as curve.svg.
    `resume` goes on from the newest one, to the same bits as if nothing had
    happened, and starts where there is none. `progress` shows a bar and the
    curve on stderr. `about`, anything JSON can hold, goes into checkpoints.

    Raises `ValueError` for texts shorter than a block, for checkpoints of
    another run and for a folder in which one is writing, `RuntimeError` when
    the disk is full or the loss is not a number, `KeyboardInterrupt` after
    the save that Ctrl-C asks for.
    """
    texts = train_ids, validation_ids
    for ids in texts:
        data.check_block(ids, config.block)
    with hold(out):
        folder = None if out is None else Path(out)
        run = Run(model, adamw(model, config), config, folder, about)
        run.begin(texts, resume)
        with stop_on_ctrl_c(run) as asked, Meter(run, progress) as meter:
            steps(run, texts, asked, meter)
    last = validation_ids.to(run.device)
    run.history.final_loss = evaluate_all(model, last, config)
    return run.history


def steps(run: Run, texts: tuple[Tensor, Tensor], asked, meter) -> None:
    """The loop itself: from the step a run is at to the last one."""
    config = run.config
    train_ids, validation_ids = (ids.to(run.device) for ids in texts)
    forward = torch.compile(run.model) if config.compile else run.model
    run.model.train()
    for step in range(run.step, config.steps):
        inputs, targets = batch(train_ids, config, step)
        part = update(forward, run.optimizer, inputs, targets, config, step)
        run.add(part)
        meter.tick(part)
        if run.step % config.eval_every == 0 or run.step == config.steps:
            run.note(
                learning_rate(step, config),
                lambda: evaluate(forward, validation_ids, config),
            )
            meter.tell()
            run.save()
        if asked.is_set():
            raise run.stopped()
