"""What the command line does once its arguments are read.

Legend
about = the model's shape and its characters; every checkpoint holds them, so
        that `sample` needs the folder only
"""

import argparse
from dataclasses import asdict, replace

import torch

from llmnotes import checkpoint, data
from llmnotes.train import train
from llmnotes.train_config import TrainConfig
from llmnotes.transformer import gpt
from llmnotes.transformer.gpt.fused import FusedGPT

SAMPLING = "temperature", "top_k", "top_p", "min_p"


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train_gpt(options: argparse.Namespace, config: TrainConfig) -> None:
    """`llmnotes train gpt`."""
    torch.set_num_threads(options.threads)
    text = data.text(options.data)
    vocabulary = data.CharVocabulary(text)
    preset = getattr(gpt, options.preset.upper())
    shape = replace(preset, vocab_size=vocabulary.size)
    torch.manual_seed(config.seed)
    history = train(
        model_for(config)(shape).to(device()),
        *data.split(vocabulary.encode(text)),
        config,
        out=options.out,
        resume=options.resume,
        about={"shape": asdict(shape), "symbols": vocabulary.symbols},
    )
    print(
        f"final validation loss {history.final_loss:.4f}, checkpoint "
        f"{checkpoint.latest(options.out)}"
    )


def model_for(config: TrainConfig) -> type[gpt.GPT]:
    """The class that is quickest; all have the same weights.

    The fused one knows float32 on the CPU only, and nothing for
    torch.compile to look into.
    """
    plain = config.dtype == "float32" and not config.compile
    return FusedGPT if plain and device().type == "cpu" else gpt.GPT


def sample(options: argparse.Namespace) -> None:
    """`llmnotes sample`."""
    model, vocabulary = recall(options.run)
    try:
        ids = vocabulary.encode(options.prompt)[None].to(device())
    except ValueError as error:
        why = str(error).removeprefix("text: ")
        raise ValueError(f"--prompt: {why}") from error
    ids = gpt.generate(
        model,
        ids,
        options.length,
        generator=torch.Generator(device()).manual_seed(options.seed),
        **{name: getattr(options, name) for name in SAMPLING},
    )
    print(vocabulary.decode(ids[0]))


def recall(folder: str) -> tuple[gpt.GPT, data.CharVocabulary]:
    """The trained model of a run and its characters."""
    about = checkpoint.read(folder).get("about")
    try:
        shape = gpt.GPTConfig(**about["shape"])
        vocabulary = data.CharVocabulary(about["symbols"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder}: got weights without shape and characters, expected "
            "a folder that llmnotes train wrote"
        ) from error
    model = gpt.GPT(shape)
    checkpoint.load(folder, model)
    return model.to(device()), vocabulary
