"""The command line: `llmnotes train`, `finetune`, `sample` and so on.

Mistakes and accidents end in one line on stderr and exit status 2; Ctrl-C
saves and ends in 130. Importing torch takes seconds; what is wrong with the
arguments alone is said before.
"""

import argparse
import contextlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmnotes import corpora
from llmnotes.options import (
    DRAW,
    FINETUNE,
    PLAN,
    QUANTIZE,
    SAMPLE,
    TEXT,
    TOKENIZE,
    TRAIN,
    TRAINED,
)
from llmnotes.presets import PICTURES
from llmnotes.train_config import TrainConfig

EXAMPLES = """examples:
  llmnotes data list
  llmnotes data get tiny_shakespeare
  llmnotes train gpt --data tiny_shakespeare --preset minigpt --out run
  llmnotes train gpt --data tiny_shakespeare --preset minigpt --out run \\
    --resume
  llmnotes train gpt --data my.txt --out mine
  llmnotes train gpt --data my.txt --out mine --resume --steps 8000
  llmnotes finetune run --data my.txt --lora 8 --out adapter
  llmnotes sample run --adapter adapter --prompt "ROMEO:"
  llmnotes sample run --prompt "ROMEO:" --seed 1 --temperature 0.8
  llmnotes sample run --prompt "ROMEO:" --stop "JULIET:"
  llmnotes sample Mistral-7B-v0.1 --prompt "My favourite condiment is"
  llmnotes quantize run --kind q4_k --out run.gguf
  llmnotes sample run.gguf --prompt "ROMEO:"
  llmnotes train ddpm --out digits
  llmnotes draw digits 7 --scale 2 --steps 20 --out seven.png
  llmnotes train glide --out shapes
  llmnotes draw shapes "a small red circle" --scale 2 --out circle.png
  llmnotes train latent --out latents
  llmnotes draw latents "a small red circle over a large blue square" \\
    --out two.png
  llmnotes tokenize tokenizer.model "It is 12345 o'clock."
  llmnotes plan --model llama-3-8b --gpus 8 --batch 64 --length 8192
"""


CONFIG = "config.json"  # as `foreign` has it, which imports torch
READER_GONE = 141  # what a shell says of a program whose pipe was closed
STRICT = "strict", "surrogateescape"  # ways to stop at a letter


class Parser(argparse.ArgumentParser):
    """A parser whose complaints take one line."""

    def error(self, message: str) -> None:
        """Say what is wrong and leave."""
        self.exit(2, f"{self.prog}: {message}; --help shows examples\n")


def parser() -> Parser:
    """All commands and their options."""
    shown = {
        "epilog": EXAMPLES,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }
    about = "Train small models and let them write and draw."
    root = Parser(prog="llmnotes", description=about, **shown)
    commands = root.add_subparsers(
        metavar="command", dest="command", required=True
    )
    for name, go, about, options in (
        ("train", run_train, "Train a model on a text, or on pictures.",
         TRAIN),
        ("finetune", run_finetune,
         "Train a low-rank difference to a model on a text.", FINETUNE),
        ("sample", run_sample, "Let a trained model write.", SAMPLE),
        ("draw", run_draw,
         "Draw what a caption says, and let a program check it.", DRAW),
        ("quantize", run_quantize,
         "Write a trained model in few bits, in one file.", QUANTIZE),
        ("plan", run_plan,
         "Say what training a large model would take, by formula.", PLAN),
        ("tokenize", run_tokenize,
         "Show the pieces of a text and their ids.", TOKENIZE),
        ("data", run_data, "Show or fetch what to train on.", {}),
    ):  # fmt: skip
        found = commands.add_parser(name, help=about, description=about,
                                    **shown)  # fmt: skip
        found.set_defaults(go=go)
        for option, settings in options.items():
            found.add_argument(option, **settings)
    add_data(found)
    return root


def add_data(to: Parser) -> None:
    """Options of `llmnotes data`."""
    what = to.add_subparsers(metavar="list|get", dest="what", required=True)
    what.add_parser("list", help="show the texts and images to train on")
    get = what.add_parser("get", help="fetch a text, say where it lies")
    get.add_argument("name", choices=list(corpora.DOWNLOADS))


def run_train(options: argparse.Namespace) -> None:
    """`llmnotes train gpt`."""
    config = training(options)
    if options.model in PICTURES:
        check_pictures(options)
        from llmnotes import draw  # not above: it imports torch

        return draw.train_model(options, config)
    options.data = TEXT if options.data is None else options.data
    text = read(options.data)
    from llmnotes import commands  # not above: it imports torch

    commands.train_model(options, config, text)


def check_pictures(options: argparse.Namespace) -> None:
    """Raise `ValueError` for an option that only a text's model has."""
    for name in ("data", "tokenizer", "batch_size", "dtype", "compile"):
        if getattr(options, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')}: got "
                f"{getattr(options, name)}, expected nothing: "
                f"{options.model} brings its own pictures and batches"
            )


def read(name: str) -> str:
    """The text that --data names."""
    try:
        return corpora.text(name)
    except ValueError as error:
        raise ValueError(
            f"--data: {str(error).removeprefix('name: ')}"
        ) from error


def run_finetune(options: argparse.Namespace) -> None:
    """`llmnotes finetune`."""
    check_run(options.run)
    options.data = TEXT if options.data is None else options.data
    text = read(options.data)
    from llmnotes import finetune  # not above: it imports torch

    finetune.finetune(options, text)


def training(options: argparse.Namespace) -> TrainConfig:
    """The preset's training, with what the options change."""
    names = (
        "steps batch_size learning_rate eval_every seed dtype compile".split()
    )
    changes = {name: getattr(options, name) for name in names}
    changes = {k: v for k, v in changes.items() if v is not None}
    if "learning_rate" in changes:
        changes["min_learning_rate"] = changes["learning_rate"] / 10
    preset = TRAINED[options.model].preset(options.preset)
    return replace(preset.training, **changes)


def run_sample(options: argparse.Namespace) -> None:
    """`llmnotes sample`."""
    for name, given in (("prompt", [options.prompt]), ("stop", options.stop)):
        if "" in given:
            raise ValueError(
                f"--{name}: got nothing, expected at least one letter"
            )
    check_run(options.run)
    from llmnotes import commands  # not above: it imports torch

    commands.sample(options)


def check_run(folder: str) -> None:
    """Raise `ValueError` unless a model lies in a folder."""
    path = Path(folder)
    if not (path.is_file() or saved(folder) or (path / CONFIG).exists()):
        raise ValueError(
            f"{folder}: got no checkpoint, expected a folder that llmnotes "
            f"train wrote, or one of Hugging Face's with {CONFIG}"
        )


def run_draw(options: argparse.Namespace) -> None:
    """`llmnotes draw`."""
    if not saved(options.run):
        raise ValueError(
            f"{options.run}: got no checkpoint, expected a folder that "
            "llmnotes train wrote"
        )
    from llmnotes import draw  # not above: it imports torch

    draw.draw(options)


def run_quantize(options: argparse.Namespace) -> None:
    """`llmnotes quantize`."""
    if not saved(options.run):
        raise ValueError(
            f"{options.run}: got no checkpoint, expected a folder that "
            "llmnotes train wrote"
        )
    from llmnotes import commands  # not above: it imports torch

    commands.quantize(options)


def run_plan(options: argparse.Namespace) -> None:
    """`llmnotes plan`."""
    from llmnotes import plan_table  # not above: it imports torch

    plan_table.show(options)


def run_tokenize(options: argparse.Namespace) -> None:
    """`llmnotes tokenize`."""
    if not Path(options.tokenizer).exists():
        raise ValueError(
            f"tokenizer: got {options.tokenizer!r}, no such file or folder"
        )
    text = sys.stdin.read() if options.text is None else options.text
    from llmnotes.foundations.tokenizers import saved  # it imports torch

    for i, piece in saved.numbered(options.tokenizer, text):
        print(f"{i:>7} {piece}")


def run_data(options: argparse.Namespace) -> None:
    """`llmnotes data list` and `llmnotes data get NAME`."""
    if options.what == "get":
        print(f"{options.name}: {corpora.get(options.name)}")
        return
    from llmnotes import pictures  # not above: it imports NumPy

    own = {"FILE": "of yours in UTF-8, by its path"}
    kinds = {
        "text": corpora.names() | own,
        "images": pictures.names(),
        "captioned": pictures.captioned_names(),
    }
    for kind, found in kinds.items():
        for name, about in found.items():
            print(f"{name:<18}{kind:<11}{about}")


def saved(folder: str | Path) -> bool:
    """Whether a folder holds a checkpoint."""
    return any(Path(folder).glob("step-*"))


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with every_letter(sys.stdout), every_letter(sys.stderr):
        return run(parser().parse_args(arguments), arguments)


def run(options: argparse.Namespace, arguments: list[str]) -> int:
    """Do what is asked; mistakes and accidents become one line each."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn
            options.go(options)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, and not while Python ends
    except BrokenPipeError:
        leave_quietly()
        return READER_GONE
    except KeyboardInterrupt as stop:
        tell(goodbye(stop, options, arguments))
        return 130
    except OSError as error:
        what = error.filename or f"llmnotes {options.command}"
        tell(f"{what}: {error.strerror or error}")
        return 2
    except (ValueError, RuntimeError) as error:
        tell((str(error) or repr(error)).splitlines()[0])
        return 2
    return 0


@contextmanager
def every_letter(stream: Any) -> Iterator[None]:
    """Show ? for a letter that the stream's encoding does not have."""
    before = getattr(stream, "errors", None)
    if before not in STRICT or not hasattr(stream, "reconfigure"):
        yield
        return
    stream.reconfigure(errors="replace")
    try:
        yield
    finally:
        if not stream.closed:
            stream.reconfigure(errors=before)


def leave_quietly() -> None:
    """Let Python end in peace after `llmnotes sample run | head`."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def goodbye(stop, options: argparse.Namespace, arguments: list[str]) -> str:
    """What to say after Ctrl-C: how to go on, if there is a checkpoint."""
    said = getattr(stop, "saved", "stopped")
    if "out" not in options or not saved(options.out):
        return said
    if os.environ.get("RANK", "0") != "0":
        return said  # rank 0 of torchrun says the rest
    resume = [a for a in arguments if a != "--resume"] + ["--resume"]
    return f"{said}; go on with: {command()} {shlex.join(resume)}"


def command() -> str:
    """How this program was started."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return "llmnotes"
    here = os.environ["LOCAL_WORLD_SIZE"]
    return f"torchrun --nproc-per-node {here} -m llmnotes"


def warn(message: Warning, *place) -> None:
    """Show a warning without the line of code it comes from."""
    tell(f"warning: {message}")


def tell(message: str) -> None:
    """One line on stderr, if there is one."""
    if sys.stderr is not None:  # else print would take stdout
        with contextlib.suppress(OSError, ValueError):
            print(f"llmnotes: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
