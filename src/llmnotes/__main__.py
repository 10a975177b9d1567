"""The command line: `llmnotes train`, `llmnotes sample`, `llmnotes data`.

    run/run.json   the model's shape and its characters, for `sample`

Mistakes and accidents end in one line on stderr and exit status 2; Ctrl-C
saves and ends in 130.
"""

import argparse
import dataclasses
import json
import os
import shlex
import sys
import warnings
from pathlib import Path

import torch

from llmnotes import checkpoint, data
from llmnotes.train import TrainConfig, train
from llmnotes.transformer import gpt

EXAMPLES = """examples:
  llmnotes data list
  llmnotes train gpt --data tiny_shakespeare --preset minigpt --out run
  llmnotes train gpt --data tiny_shakespeare --preset minigpt --out run \\
    --resume
  llmnotes sample run --prompt "ROMEO:" --seed 1 --temperature 0.8
"""
TRAINING = {
    "minigpt": TrainConfig(steps=4000, batch_size=16),
    "nanogpt_cpu": TrainConfig(steps=2000, batch_size=12),
}
CHANGES = ("steps", "batch_size", "learning_rate", "eval_every", "seed")
SAMPLING = ("temperature", "top_k", "top_p", "min_p")


class Parser(argparse.ArgumentParser):
    """A parser whose complaints take one line."""

    def error(self, message: str) -> None:
        """Say what is wrong and leave."""
        self.exit(2, f"{self.prog}: {message}; --help shows examples\n")


def parser() -> Parser:
    """All commands and their options."""
    root = Parser(
        prog="llmnotes",
        description=__doc__.splitlines()[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(metavar="command", required=True)

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
    texts = command("data", run_data, "Show the texts to train on.")
    texts.add_argument("what", choices=["list"])
    return root


def add_train(to: Parser) -> None:
    """Options of `llmnotes train`."""
    to.add_argument("model", choices=["gpt"])
    to.add_argument("--out", required=True, help="folder for the run")
    to.add_argument("--data", default="python_reference", help="a text")
    to.add_argument("--preset", default="minigpt", help=", ".join(presets()))
    to.add_argument("--resume", action="store_true", help="go on with --out")
    to.add_argument("--steps", type=int)
    to.add_argument("--batch-size", type=int, help="sequences per step")
    to.add_argument("--learning-rate", type=float, help="the peak")
    to.add_argument("--eval-every", type=int, help="steps; saves, too")
    to.add_argument("--seed", type=int, help="of weights and batches")
    to.add_argument("--dtype", help="float32 or bfloat16")
    to.add_argument("--compile", action="store_true", default=None)
    to.add_argument("--threads", type=int, help="of the CPU")


def add_sample(to: Parser) -> None:
    """Options of `llmnotes sample`."""
    to.add_argument("run", help="the folder that train wrote")
    to.add_argument("--prompt", default="\n", help="what to continue")
    to.add_argument("--length", type=int, default=500, help="characters")
    to.add_argument("--seed", type=int, default=0)
    to.add_argument("--temperature", type=float, default=1.0, help="0: greedy")
    to.add_argument("--top-k", type=int)
    to.add_argument("--top-p", type=float)
    to.add_argument("--min-p", type=float)


def presets() -> dict[str, gpt.GPTConfig]:
    """The sizes that the GPT chapter names."""
    return {
        name.lower(): value
        for name, value in vars(gpt).items()
        if isinstance(value, gpt.GPTConfig)
    }


def device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run_train(options: argparse.Namespace) -> None:
    """`llmnotes train gpt`."""
    if options.preset not in presets():
        raise ValueError(
            f"preset: got {options.preset!r}, expected one of "
            f"{', '.join(presets())}"
        )
    if options.threads:
        torch.set_num_threads(options.threads)
    text = data.text(options.data)
    vocabulary = data.CharVocabulary(text)
    shape = dataclasses.replace(
        presets()[options.preset], vocab_size=vocabulary.size
    )
    config = training(options, shape.n_positions)
    if not checkpoint.steps(options.out):
        remember(options.out, shape, vocabulary)
    torch.manual_seed(config.seed)
    model = gpt.GPT(shape).to(device())
    history = train(
        model,
        *data.split(vocabulary.encode(text)),
        config,
        out=options.out,
        resume=options.resume,
    )
    print(
        f"final validation loss {history.final_loss:.4f}, checkpoint "
        f"{checkpoint.latest(options.out)}"
    )


def training(options: argparse.Namespace, block: int) -> TrainConfig:
    """The preset's training, with what the options change."""
    changes = {
        name: getattr(options, name)
        for name in (*CHANGES, "dtype", "compile")
        if getattr(options, name) is not None
    }
    base = TRAINING.get(options.preset, TrainConfig())
    return dataclasses.replace(base, block=block, **changes)


def remember(out: str, shape: gpt.GPTConfig, vocabulary) -> None:
    """Write run.json, all or nothing."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "config": dataclasses.asdict(shape),
        "symbols": vocabulary.symbols,
    }
    (folder / ".run.json").write_text(json.dumps(about), "utf-8")
    os.replace(folder / ".run.json", folder / "run.json")


def recall(out: str) -> tuple[gpt.GPT, data.CharVocabulary]:
    """The trained model of a run and its characters."""
    file = Path(out) / "run.json"
    try:
        about = json.loads(file.read_text("utf-8"))
        shape = gpt.GPTConfig(**about["config"])
        vocabulary = data.CharVocabulary(about["symbols"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file}: cannot be read ({error}), expected a file that "
            "llmnotes train wrote"
        ) from error
    model = gpt.GPT(shape)
    checkpoint.load(out, model)
    return model.to(device()), vocabulary


def run_sample(options: argparse.Namespace) -> None:
    """`llmnotes sample`."""
    model, vocabulary = recall(options.run)
    ids = vocabulary.encode(options.prompt)[None].to(device())
    ids = gpt.generate(
        model,
        ids,
        options.length,
        generator=torch.Generator(device()).manual_seed(options.seed),
        **{name: getattr(options, name) for name in SAMPLING},
    )
    print(vocabulary.decode(ids[0]))


def run_data(options: argparse.Namespace) -> None:
    """`llmnotes data list`."""
    for name, about in data.names().items():
        print(f"{name:<18}{about}")


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
        tell(f"{error.filename or options.go.__name__}: {error.strerror}")
        return 2
    except (ValueError, RuntimeError) as error:
        tell(str(error).splitlines()[0])
        return 2
    return 0


def goodbye(stop, options: argparse.Namespace, arguments: list[str]) -> str:
    """What to say after Ctrl-C: how to go on, if there is a checkpoint."""
    said = getattr(stop, "saved", "stopped")
    if "out" not in options or not checkpoint.steps(options.out):
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
