"""The training loop: batches in, a trained model and its history out.

    steps         = number of optimizer steps
    learning_rate = η (the peak; `learning_rate(step, config)` is η_t)
    clip          = largest norm of the gradient; a longer one is shortened
    accumulate    = pieces a batch is cut into when it does not fit at once
    weight_decay  = λ

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
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from llmnotes import data


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run computes, apart from its data.

    `batch_size` sequences make one optimizer step; `accumulate` cuts them
    into pieces that need less memory and changes nothing else. `clip` and
    `warmup` are off at 0. `dtype` is "float32", or "bfloat16" for mixed
    precision: bfloat16 products, float32 weights.
    """

    steps: int = 4000
    batch_size: int = 16
    block: int = 32
    learning_rate: float = 1e-3
    warmup: int = 100
    min_learning_rate: float = 1e-4
    schedule: str = "cosine"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    clip: float = 1.0
    accumulate: int = 1
    eval_every: int = 500
    eval_batches: int = 20
    seed: int = 0
    dtype: str = "float32"
    compile: bool = False


@dataclass(frozen=True)
class Row:
    """What one evaluation saw; `loss` is the mean since the row before."""

    step: int
    loss: float
    validation_loss: float
    learning_rate: float
    tokens_per_second: float


class History(list[Row]):
    """One row per evaluation; `final_loss` is over all validation text."""

    final_loss: float = math.nan


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
        betas=config.betas,
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
    return mean_loss(
        model,
        (
            data.batch(
                ids,
                batch_size=config.batch_size,
                block=config.block,
                seed=config.seed,
                step=2**63 + i,  # no training step has these numbers
            )
            for i in range(config.eval_batches)
        ),
        config,
    )


def evaluate_all(
    model: nn.Module, ids: Int[Tensor, "tokens"], config: TrainConfig
) -> float:
    """Loss on all of `ids`: every token but the first predicted once."""
    whole = (len(ids) - 1) // config.block * config.block
    blocks = [
        x.unfold(0, config.block, config.block)
        for x in (ids[:whole], ids[1 : whole + 1])
    ]
    batches = list(
        zip(*(x.split(config.batch_size) for x in blocks), strict=True)
    )
    if whole < len(ids) - 1:  # what is left is shorter than a block
        batches.append((ids[whole:-1][None], ids[whole + 1 :][None]))
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
) -> History:
    """Train for `config.steps` steps and evaluate as you go."""
    device = next(model.parameters()).device
    train_ids, validation_ids = train_ids.to(device), validation_ids.to(device)
    data.check_block(train_ids, config.block)
    data.check_block(validation_ids, config.block)
    optimizer = adamw(model, config)
    forward = torch.compile(model) if config.compile else model
    history, losses = History(), []
    model.train()
    tokens = config.batch_size * config.block
    bar = tqdm(
        total=config.steps * tokens,
        unit="tok",
        unit_scale=True,
        disable=None if progress else True,
    )
    clock, since = time.perf_counter(), 0
    for step in range(config.steps):
        batch = data.batch(
            train_ids,
            batch_size=config.batch_size,
            block=config.block,
            seed=config.seed,
            step=step,
        )
        losses.append(update(forward, optimizer, *batch, config, step))
        if bar.update(tokens):
            bar.set_postfix_str(f"loss {losses[-1].item():.3f}", False)
        if (step + 1) % config.eval_every == 0 or step + 1 == config.steps:
            values = torch.stack(losses).tolist()
            speed = (step + 1 - since) * tokens / (time.perf_counter() - clock)
            history.append(
                Row(
                    step + 1,
                    math.fsum(values) / len(values),
                    evaluate(forward, validation_ids, config),
                    learning_rate(step, config),
                    speed,
                )
            )
            losses, since = [], step + 1
            clock = time.perf_counter()
    bar.close()
    history.final_loss = evaluate_all(forward, validation_ids, config)
    return history
