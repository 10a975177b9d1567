"""The command line: `llmnotes train`, `llmnotes sample`, `llmnotes data`.

Mistakes and accidents end in one line on stderr and exit status 2; Ctrl-C
saves and ends in 130. Importing torch takes seconds; what is wrong with the
arguments alone is said before.
"""

import argparse
import math
import shlex
import sys
import warnings
from dataclasses import replace
from pathlib import Path

from llmnotes import corpora
from llmnotes.train_config import DTYPES, TrainConfig

EXAMPLES = """examples:
  llmnotes data list
  llmnotes train gpt --data tiny_shakespeare --preset minigpt --out run
  llmnotes train gpt --data tiny_shakespeare --preset minigpt --out run \\
    --resume
  llmnotes sample run --prompt "ROMEO:" --seed 1 --temperature 0.8
"""
BASE = TrainConfig(
    learning_rate=2e-3, min_learning_rate=2e-4, warmup=50, betas=(0.9, 0.98)
)
PRESETS = {  # the shapes are constants of llmnotes.transformer.gpt
    "minigpt": replace(BASE, steps=4000, batch_size=16, block=32),
    "nanogpt_cpu": replace(BASE, steps=2000, batch_size=12, block=64),
}


class Parser(argparse.ArgumentParser):
    """A parser whose complaints take one line."""

    def error(self, message: str) -> None:
        """Say what is wrong and leave."""
        self.exit(2, f"{self.prog}: {message}; --help shows examples\n")


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


def parser() -> Parser:
    """All commands and their options."""
    root = Parser(
        prog="llmnotes",
        description="Train small language models and let them write.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(
        metavar="command", dest="command", required=True
    )

    def command(name, go, about):
        found = commands.add_parser(
            name,
            help=about,
            description=about,
            epilog=EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        found.set_defaults(go=go)
        return found

    add_train(command("train", run_train, "Train a model on a text."))
    add_sample(command("sample", run_sample, "Let a trained model write."))
    texts = command("data", run_data, "Show the texts and images to train on.")
    texts.add_argument("what", choices=["list"])
    return root


def add_train(to: Parser) -> None:
    """Options of `llmnotes train`; those of TrainConfig check themselves."""
    texts, some = list(corpora.names()), number(int, 1)
    to.add_argument("model", choices=["gpt"], help="GPT-2's architecture")
    to.add_argument(
        "--out", required=True, metavar="FOLDER", help="where the run is kept"
    )
    to.add_argument(
        "--data",
        choices=texts,
        default=texts[0],
        help="text to learn, default %(default)s",
    )
    to.add_argument(
        "--preset",
        choices=list(PRESETS),
        default="minigpt",
        help="size and training, default %(default)s",
    )
    to.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --out, if there is one",
    )
    to.add_argument("--steps", type=some, metavar="N", help="optimizer steps")
    to.add_argument(
        "--batch-size", type=some, metavar="N", help="sequences per step"
    )
    to.add_argument(
        "--learning-rate",
        type=number(float, 0),
        metavar="X",
        help="the peak; the end is a tenth of it",
    )
    to.add_argument(
        "--eval-every",
        type=some,
        metavar="N",
        help="steps between evaluations, each with a checkpoint",
    )
    to.add_argument(
        "--seed",
        type=number(int, 0),
        metavar="N",
        help="of weights and batches",
    )
    to.add_argument("--dtype", choices=DTYPES, help="of the products")
    to.add_argument(
        "--compile",
        action="store_true",
        default=None,
        help="use torch.compile; needs a C++ compiler",
    )
    to.add_argument(
        "--threads",
        type=some,
        metavar="N",
        default=1,
        help="of the CPU; at these sizes more than 1 gains nothing",
    )


def add_sample(to: Parser) -> None:
    """Options of `llmnotes sample`."""
    count, chance = number(int, 0), number(float, 0, 1)
    to.add_argument("run", metavar="FOLDER", help="where train kept the run")
    to.add_argument(
        "--prompt", default="\n", help="what to continue, default a new line"
    )
    to.add_argument(
        "--length", type=count, metavar="N", default=500, help="characters"
    )
    to.add_argument(
        "--seed",
        type=count,
        metavar="N",
        default=0,
        help="another: other text",
    )
    to.add_argument(
        "--temperature",
        type=number(float, 0),
        metavar="T",
        default=1.0,
        help="0: always the likeliest; 1: as learned; more: wilder",
    )
    to.add_argument(
        "--top-k", type=number(int, 1), metavar="K", help="of the K likeliest"
    )
    to.add_argument(
        "--top-p", type=chance, metavar="P", help="likeliest that reach P"
    )
    to.add_argument(
        "--min-p", type=chance, metavar="P", help="at least P x the likeliest"
    )


def run_train(options: argparse.Namespace) -> None:
    """`llmnotes train gpt`."""
    config = training(options)
    from llmnotes import commands  # not above: it imports torch

    commands.train_gpt(options, config)


def training(options: argparse.Namespace) -> TrainConfig:
    """The preset's training, with what the options change."""
    names = (
        "steps batch_size learning_rate eval_every seed dtype compile".split()
    )
    changes = {name: getattr(options, name) for name in names}
    changes = {k: v for k, v in changes.items() if v is not None}
    if "learning_rate" in changes:
        changes["min_learning_rate"] = changes["learning_rate"] / 10
    return replace(PRESETS[options.preset], **changes)


def run_sample(options: argparse.Namespace) -> None:
    """`llmnotes sample`."""
    if not options.prompt:
        raise ValueError("--prompt: got nothing, expected at least one letter")
    if not saved(options.run):
        raise ValueError(
            f"{options.run}: got no checkpoint, expected a folder that "
            "llmnotes train wrote"
        )
    from llmnotes import commands  # not above: it imports torch

    commands.sample(options)


def run_data(options: argparse.Namespace) -> None:
    """`llmnotes data list`."""
    from llmnotes import pictures  # not above: it imports NumPy

    for kind, found in (("text", corpora), ("images", pictures)):
        for name, about in found.names().items():
            print(f"{name:<18}{kind:<8}{about}")


def saved(folder: str) -> bool:
    """Whether a folder holds a checkpoint."""
    return any(Path(folder).glob("step-*"))


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = warn
            options.go(options)
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


def goodbye(stop, options: argparse.Namespace, arguments: list[str]) -> str:
    """What to say after Ctrl-C: how to go on, if there is a checkpoint."""
    said = getattr(stop, "saved", "stopped")
    if "out" not in options or not saved(options.out):
        return said
    resume = [a for a in arguments if a != "--resume"] + ["--resume"]
    return f"{said}; go on with: llmnotes {shlex.join(resume)}"


def warn(message: Warning, *place) -> None:
    """Show a warning without the line of code it comes from."""
    tell(f"warning: {message}")


def tell(message: str) -> None:
    """One line on stderr."""
    print(f"llmnotes: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
