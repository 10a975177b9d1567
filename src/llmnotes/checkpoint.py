"""Checkpoints: a run written to disk so that it goes on as if never stopped.

    run/step-000500/model.safetensors     weights, under state-dict names
    run/step-000500/training.safetensors  optimizer moments, random states
    run/step-000500/state.json            the step, what the loop noted, and
                                          whose moments these are

A checkpoint is written under another name, pushed to the disk, and then
renamed, so that a folder called step-... is always whole; a crash leaves at
most a folder called .part. The last two checkpoints are kept.

Sources
- safetensors: a JSON header and raw tensors. Unlike pickle, a file from a
  stranger cannot run code, and one that was cut short is recognised.
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llmnotes import optimizer_state
from llmnotes.checks import check_sizes
from llmnotes.weights import apart, bare, check_same, weights

FORMAT = "llmnotes checkpoint 2"
BEFORE = "llmnotes checkpoint 1"  # moments by number: only weights are read
PART = ".part"
KEPT = 2


def steps(folder: str | Path) -> list[int]:
    """The steps at which `folder` holds a checkpoint, oldest first."""
    folder = Path(folder)
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise ValueError(f"{folder}: got a file, expected a run's folder")
    found = (re.fullmatch(r"step-(\d+)", p.name) for p in folder.iterdir())
    return sorted(int(match[1]) for match in found if match)


def path(folder: str | Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return Path(folder) / f"step-{step:06d}"


def latest(folder: str | Path) -> Path:
    """The newest checkpoint; `ValueError` if there is none."""
    found = steps(folder)
    if not found:
        raise ValueError(
            f"{folder}: got no checkpoint, expected a folder step-... in it"
        )
    return path(folder, found[-1])


def random_states() -> dict[str, Tensor]:
    """Where PyTorch's random numbers are."""
    states = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random.cuda"] = torch.cuda.get_rng_state()
    return states


def save(
    folder: str | Path,
    step: int,
    model: nn.Module,
    optimizer: Any,
    notes: dict | None = None,
) -> Path:
    """Write a checkpoint, all or nothing, and drop all but the last two.

    `notes` is anything JSON can hold. A step that is already there is left
    as it is. Raises `ValueError` naming what a checkpoint cannot hold,
    `RuntimeError` if the disk refuses; older checkpoints are then untouched.
    """
    check_sizes(0, step=step)
    home, part = path(folder, step), Path(folder) / PART
    try:
        shutil.rmtree(part, ignore_errors=True)
        if not home.exists():
            held = contents(step, model, optimizer, notes)
            part.mkdir(parents=True)
            fill(part, step, *held)
            os.rename(part, home)
            push_to_disk(Path(folder))
        for old in steps(folder)[:-KEPT]:
            os.rename(path(folder, old), part)  # never half a checkpoint
            shutil.rmtree(part)
    except (OSError, SafetensorError) as error:
        kept = ", ".join(map(str, steps(folder))) or "none"
        raise RuntimeError(
            f"{folder}: could not save step {step} ({error}); checkpoints "
            f"kept: {kept}"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return home


def contents(step, model, optimizer, notes) -> tuple[dict, dict, str]:
    """What the three files of a checkpoint hold; refuses what none can."""
    model = bare(model)
    moments, facts = optimizer_state.collect(model, optimizer)
    state = {"format": FORMAT, "step": step, "notes": notes or {}}
    try:
        text = json.dumps(state | {"optimizer": facts})
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"notes: got what JSON cannot hold ({error}), expected numbers, "
            "words, lists and dicts"
        ) from None
    return weights(model), moments | random_states(), text


def fill(part, step, model, training, state) -> None:
    """Write the three files of a checkpoint into the folder `part`."""
    for name, tensors in (("model", model), ("training", training)):
        file = part / f"{name}.safetensors"
        save_file(apart(tensors), file, {"format": "pt"})
    (part / "state.json").write_text(state, "utf-8")
    for file in [*part.iterdir(), part]:
        push_to_disk(file)


def push_to_disk(file: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    if file.is_dir() and os.name == "nt":
        return  # Windows has no handle for a folder
    handle = os.open(file, os.O_RDONLY if file.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(folder: str | Path) -> dict:
    """The newest checkpoint's notes and `step`, without its tensors."""
    return read_state(latest(folder))[0]


def load(
    folder: str | Path,
    model: nn.Module,
    optimizer: Any = None,
) -> dict:
    """Put the newest checkpoint into a model; return its notes and `step`.

    With an optimizer, its moments and the random states come back too.
    Everything is read and checked before anything is changed. Raises
    `ValueError` naming the file that is damaged, or the weights that are
    others than the model has or the optimizer moves.
    """
    home, model = latest(folder), bare(model)
    state, facts = read_state(home)
    own = weights(model)
    new = read_tensors(home / "model.safetensors")
    check_same(home, own, new, to_the_bit=optimizer is not None)
    if optimizer is not None:
        restore(home, model, optimizer, facts)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(new[name])
    return state


def restore(home: Path, model, optimizer, facts: dict | None) -> None:
    """Bring back the optimizer's moments and the random states."""
    file = home / "training.safetensors"
    if facts is None:
        raise ValueError(
            f"{home}: got {BEFORE!r}, whose moments are numbered and may be "
            f"those of other weights, expected {FORMAT!r}; its weights alone "
            "can be read"
        )
    tensors = read_tensors(file)
    try:
        state = optimizer_state.read(tensors, facts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(file, error) from error
    if "random.cpu" not in tensors:
        raise damaged(file, "no random state")
    optimizer_state.check(model, optimizer, state, facts, home)
    optimizer_state.put(model, optimizer, state)
    torch.set_rng_state(tensors["random.cpu"])
    if torch.cuda.is_available() and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])


def read_state(home: Path) -> tuple[dict, dict | None]:
    """What `save` was told, the step, and what is known of the moments."""
    try:
        state = json.loads((home / "state.json").read_text("utf-8"))
        if state["format"] not in (FORMAT, BEFORE):
            raise ValueError(f"format {state['format']!r}")
        facts = state["optimizer"] if state["format"] == FORMAT else None
        step = int(state["step"])
        return {**state["notes"], "step": step}, facts
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        RecursionError,
    ) as error:
        raise damaged(home / "state.json", error) from error


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of one file."""
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise damaged(file, error) from error


def damaged(file: Path, why: object) -> ValueError:
    """The error for a file that is cut short or not ours."""
    home = file.parent
    older = steps(home.parent)[:-1]
    hint = ""
    if older:
        hint = (
            f"; to go on from step {older[-1]}, move {home.name} to another "
            "place"
        )
    return ValueError(
        f"{file}: got a damaged or foreign file ({why}), expected one that "
        f"llmnotes.checkpoint wrote{hint}"
    )
