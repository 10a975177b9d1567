"""The options of the commands, as argparse has them.

number = a reader of numbers within bounds, whose complaint takes one line
"""

import argparse
import math
import re
from collections import ChainMap

from llmnotes.presets import MODELS, PICTURES
from llmnotes.train_config import DTYPES


def number(kind: type, low: float, high: float = math.inf):
    """Make a reader of numbers from `low` to `high`."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            what = "an integer" if kind is int else "a number"
            top = "or more" if high == math.inf else f"to {high}"
            raise argparse.ArgumentTypeError(
                f"got {text}, expected {what}, {low} {top}"
            )
        return value

    return read


def learned(text: str) -> int:
    """How many pieces `bpe:4096` asks for."""
    kind, _, count = text.partition(":")
    if kind != "bpe" or not count.isdecimal() or int(count) < BYTES:
        raise argparse.ArgumentTypeError(
            f"got {text}, expected bpe:N with N pieces, {BYTES} or more"
        )
    return int(count)


def room(text: str) -> float:
    """Bytes of `80GB` or `80GiB`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(GB|GiB)", text)
    if not found or not float(found[1]):
        raise argparse.ArgumentTypeError(
            f"got {text}, expected a size such as 80GB or 80GiB"
        )
    return float(found[1]) * (1e9 if found[2] == "GB" else 2**30)


BYTES = 256  # which are pieces from the start
COUNT, SOME, CHANCE = number(int, 0), number(int, 1), number(float, 0, 1)
TRAINED = ChainMap(PICTURES, MODELS)  # whose order is from the last
NAMED = "; ".join(f"{m}: {', '.join(x.presets)}" for m, x in TRAINED.items())
TEXT = "python_reference"  # where nobody names one
# Those of TrainConfig have no default here: the preset has one.
TRAIN = {
    "model": {
        "choices": TRAINED,
        "help": ", ".join(found.about for found in TRAINED.values()),
    },
    "--out": {
        "required": True,
        "metavar": "FOLDER",
        "help": "where the run is kept",
    },
    "--data": {
        "metavar": "NAME|FILE",
        "help": "text to learn: a name that llmnotes data list shows, or a "
        f"file in UTF-8; default {TEXT}. Models of pictures have their own",
    },
    "--tokenizer": {
        "type": learned,
        "metavar": "bpe:N",
        "help": "learn N pieces, byte pairs, from the text and read these; "
        "without it, a token is a character",
    },
    "--preset": {
        "metavar": "NAME",
        "help": f"size and training, default the first ({NAMED})",
    },
    "--resume": {
        "action": "store_true",
        "help": "go on with the run in --out, if there is one",
    },
    "--steps": {
        "type": SOME,
        "metavar": "N",
        "help": "optimizer steps; with --resume more than before make a run "
        "longer: its learning rate is from then on that of the longer run",
    },
    "--batch-size": {
        "type": SOME,
        "metavar": "N",
        "help": "sequences per step",
    },
    "--learning-rate": {
        "type": number(float, 0),
        "metavar": "X",
        "help": "the peak; the end is a tenth of it",
    },
    "--eval-every": {
        "type": SOME,
        "metavar": "N",
        "help": "steps between evaluations, each with a checkpoint",
    },
    "--seed": {
        "type": COUNT,
        "metavar": "N",
        "help": "of weights and batches",
    },
    "--dtype": {"choices": DTYPES, "help": "of the products"},
    "--compile": {
        "action": "store_true",
        "default": None,
        "help": "use torch.compile; needs a C++ compiler",
    },
    "--threads": {
        "type": SOME,
        "metavar": "N",
        "default": 1,
        "help": "of the CPU; at these sizes more than 1 gains nothing",
    },
}
FINETUNE = {
    "run": {
        "metavar": "FOLDER",
        "help": "what to start from: where train kept a run, or a model of "
        "Hugging Face's",
    },
    "--lora": {
        "type": SOME,
        "metavar": "R",
        "required": True,
        "help": "rank of the adapters beside all matrices",
    },
    **{name: TRAIN[name] for name in (
        "--out", "--data", "--resume", "--batch-size", "--eval-every",
        "--seed", "--threads",
    )},
    "--out": {
        "required": True,
        "metavar": "FOLDER",
        "help": "where the adapter is kept, and what to go on from",
    },
    "--steps": {
        "type": SOME,
        "metavar": "N",
        "help": "optimizer steps, default 250",
    },
    "--learning-rate": {
        "type": number(float, 0),
        "metavar": "X",
        "help": "the peak, default 0.005; the end is nothing",
    },
}  # fmt: skip
SAMPLE = {
    "run": {
        "metavar": "FOLDER",
        "help": "where train kept the run, a model of Hugging Face's, or a "
        ".gguf file that quantize wrote",
    },
    "--prompt": {
        "help": "what to continue, default a new line",
    },
    "--adapter": {
        "metavar": "FOLDER",
        "help": "what finetune learned, or peft",
    },
    "--stop": {
        "metavar": "TEXT",
        "action": "append",
        "default": [],
        "help": "end before this text; may be given more than once",
    },
    "--length": {
        "type": COUNT,
        "metavar": "N",
        "default": 500,
        "help": "characters, or pieces if the model reads these",
    },
    "--seed": {
        "type": COUNT,
        "metavar": "N",
        "default": 0,
        "help": "another: other text",
    },
    "--temperature": {
        "type": number(float, 0),
        "metavar": "T",
        "default": 1.0,
        "help": "0: always the likeliest; 1: as learned; more: wilder",
    },
    "--top-k": {"type": SOME, "metavar": "K", "help": "of the K likeliest"},
    "--top-p": {
        "type": CHANCE,
        "metavar": "P",
        "help": "likeliest that reach P",
    },
    "--min-p": {
        "type": CHANCE,
        "metavar": "P",
        "help": "at least P x the likeliest",
    },
}
QUANTIZE = {
    "run": {"metavar": "FOLDER", "help": "where train kept the run"},
    "--kind": {
        "required": True,
        "metavar": "KIND",
        "help": "of a matrix's bytes: f32, f16, q8_0, q6_k, q5_k, q4_k, q3_k, "
        "q2_k, or older ones, q5_1, q5_0, q4_1, q4_0",
    },
    "--out": {
        "required": True,
        "metavar": "FILE",
        "help": "the .gguf file to write; sample reads it",
    },
}
TOKENIZE = {
    "tokenizer": {
        "metavar": "FILE|FOLDER",
        "help": "ranks (*.tiktoken), SentencePiece's model (*.model), "
        "vocab.json with merges.txt, or vocab.txt",
    },
    "text": {
        "nargs": "?",
        "metavar": "TEXT",
        "help": "what to cut; without it, what comes on standard input",
    },
}
DRAW = {
    "run": {"metavar": "FOLDER", "help": "where train kept the run"},
    "caption": {
        "metavar": "CAPTION",
        "help": "what to draw: a digit, or a sentence about shapes",
    },
    "--out": {
        "metavar": "FILE",
        "required": True,
        "help": "the picture to write, .png",
    },
    "--scale": {
        "type": number(float, 0),
        "metavar": "S",
        "default": 2.0,
        "help": "of guidance; 1: none, 0: no caption; default %(default)s",
    },
    "--steps": {
        "type": SOME,
        "metavar": "N",
        "default": 20,
        "help": "of the sampler; default %(default)s",
    },
    "--seed": {
        "type": COUNT,
        "metavar": "N",
        "default": 0,
        "help": "another: another picture",
    },
    "--zoom": {
        "type": SOME,
        "metavar": "Z",
        "default": 16,
        "help": "pixels of the file for one of the picture; default "
        "%(default)s",
    },
}
PLANNED = (  # in `llmnotes.plan`, which imports torch
    "gpt-2", "gpt-2-xl", "gpt-3", "llama-2-7b", "llama-2-70b", "llama-3-8b",
    "llama-3-70b", "llama-3.1-405b", "mistral-7b",
)  # fmt: skip
PLAN = {
    "--model": {"choices": PLANNED, "required": True, "help": "whose size"},
    "--gpus": {"type": SOME, "metavar": "N", "required": True,
               "help": "how many there are"},
    "--memory": {"type": room, "metavar": "SIZE", "default": 80e9,
                 "help": "of each, such as 80GB; default 80GB"},
    "--batch": {"type": SOME, "metavar": "N", "required": True,
                "help": "sequences of a step, on all GPUs together"},
    "--length": {"type": SOME, "metavar": "N", "required": True,
                 "help": "tokens of a sequence"},
    "--peak": {"type": number(float, 0.001), "metavar": "X",
               "default": 989.0,
               "help": "TFLOP/s of a GPU; default 989, an H100 in 16 bits"},
    "--mfu": {"type": number(float, 0.001, 1), "metavar": "X",
              "default": 0.4,
              "help": "share of these that is used, without waiting for "
              "other stages; default 0.4, an assumption"},
    "--all": {"action": "store_true",
              "help": "all layouts, also those that do not fit"},
}  # fmt: skip
