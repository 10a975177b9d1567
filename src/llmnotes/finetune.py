"""`llmnotes finetune`: a low-rank difference to a run, learned from a text.

The adapter's two files, which peft reads too, lie in the folder beside the
checkpoints that a run goes on from; they are all that `sample` needs.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from llmnotes import commands
from llmnotes.adaptation.lora import add_lora, save_adapter
from llmnotes.adaptation.lora.files import check_home
from llmnotes.train import train
from llmnotes.train_config import TrainConfig

STEPS, RATE, BATCH, BLOCK = 250, 5e-3, 16, 256  # where nobody says otherwise


def finetune(options: argparse.Namespace, text: str) -> None:
    """Train an adapter beside the model of a run, and save it.

    Raises `ValueError` for a text that the model cannot read or that is too
    short, a rank that is too large, and the run's own folder, or one where
    the adapter cannot lie.
    """
    if Path(options.out).resolve() == Path(options.run).resolve():
        raise ValueError(
            f"--out: got {options.out}, the run itself, expected another "
            "folder"
        )
    check_home(Path(options.out))  # before all training, not after
    torch.set_num_threads(options.threads)
    model, vocabulary = commands.recall(options.run)
    ids = commands.known(vocabulary, "--data", text)
    config = training(options, model)
    parts = commands.pieces(options.data, ids, config.block)
    torch.manual_seed(config.seed)
    adapt(model, options.lora)
    history = train(
        model.train(), *parts, config, out=options.out, resume=options.resume,
        about={"adapter": {"rank": options.lora}},
    )  # fmt: skip
    save_adapter(model, options.out)
    print(
        f"final validation loss {history.final_loss:.4f}, adapter "
        f"{options.out}"
    )


def adapt(model: nn.Module, rank: int) -> None:
    """Put adapters of α = r beside all matrices of a model."""
    try:
        add_lora(model, rank, alpha=rank)
    except ValueError as error:
        why = str(error).removeprefix("rank: ")
        raise ValueError(f"--lora: {why}") from error


def training(options: argparse.Namespace, model: nn.Module) -> TrainConfig:
    """How the adapter is trained: a line down to nothing, LoRA's large rate.

    Without `eval_every` the loss is looked at ten times.
    """
    steps = options.steps or STEPS
    longest = getattr(model, "n_positions", None) or BLOCK
    return TrainConfig(
        steps=steps,
        batch_size=options.batch_size or BATCH,
        block=min(longest, BLOCK),
        learning_rate=options.learning_rate or RATE,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=steps // 16,
        betas=(0.9, 0.98),
        weight_decay=0.0,
        eval_every=options.eval_every or max(1, steps // 10),
        seed=options.seed or 0,
    )
