"""Checkpoints: a run written to disk so that it goes on as if never stopped.

    run/step-000500/model.safetensors     weights, under state-dict names
    run/step-000500/training.safetensors  optimizer moments, random states
    run/step-000500/state.json            the step and what the loop noted

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

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FORMAT = "llmnotes checkpoint 1"
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


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict; a tied weight only once, under its first name."""
    unique = {}
    for name, tensor in model.state_dict().items():
        place = tensor.data_ptr() or name  # empty tensors have no place
        unique.setdefault((place, tensor.shape), (name, tensor))
    return dict(unique.values())


def training_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Optimizer moments and random states as one flat dict of tensors."""
    state = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["random.cuda"] = torch.cuda.get_rng_state()
    for i, moments in optimizer.state_dict()["state"].items():
        state |= {f"{i}.{name}": value for name, value in moments.items()}
    return state


def save(
    folder: str | Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    notes: dict | None = None,
) -> Path:
    """Write a checkpoint, all or nothing, and drop all but the last two.

    `notes` is anything JSON can hold. A step that is already there is left
    as it is. Raises `RuntimeError` if the disk refuses; older checkpoints
    are then untouched.
    """
    home, part = path(folder, step), Path(folder) / PART
    try:
        shutil.rmtree(part, ignore_errors=True)
        if not home.exists():
            part.mkdir(parents=True)
            fill(part, step, model, optimizer, notes)
            os.rename(part, home)
            push_to_disk(Path(folder))
        for old in steps(folder)[:-KEPT]:
            os.rename(path(folder, old), part)  # never half a checkpoint
            shutil.rmtree(part)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        kept = ", ".join(map(str, steps(folder))) or "none"
        raise RuntimeError(
            f"{folder}: could not save step {step} ({error}); checkpoints "
            f"kept: {kept}"
        ) from error
    return home


def fill(part, step, model, optimizer, notes) -> None:
    """Write the three files of a checkpoint into the folder `part`."""
    for name, tensors in (
        ("model", weights(model)),
        ("training", training_state(optimizer)),
    ):
        plain = {k: v.detach().contiguous() for k, v in tensors.items()}
        save_file(plain, part / f"{name}.safetensors", {"format": "pt"})
    state = {"format": FORMAT, "step": step, "notes": notes or {}}
    (part / "state.json").write_text(json.dumps(state), "utf-8")
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
    return read_state(latest(folder))


def load(
    folder: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
) -> dict:
    """Put the newest checkpoint into a model; return its notes and `step`.

    With an optimizer, its moments and the random states come back too.
    Everything is read and checked before anything is changed. Raises
    `ValueError` naming the file that is damaged or does not fit.
    """
    home = latest(folder)
    state = read_state(home)
    new = read_tensors(home / "model.safetensors")
    check_weights(home, weights(model), new)
    if optimizer is not None:
        restore(home, optimizer)
    with torch.no_grad():
        for name, tensor in weights(model).items():
            tensor.copy_(new[name])
    return state


def restore(home: Path, optimizer: torch.optim.Optimizer) -> None:
    """Bring back the optimizer's moments and the random states."""
    tensors = read_tensors(home / "training.safetensors")
    known = optimizer.state_dict()
    groups = optimizer.param_groups
    shapes = [p.shape for group in groups for p in group["params"]]
    moments = {}
    for name in [name for name in tensors if not name.startswith("random")]:
        i, _, moment = name.partition(".")
        fits = i.isdigit() and int(i) < len(shapes)
        if not fits or tensors[name].shape not in ((), shapes[int(i)]):
            raise damaged(home / "training.safetensors", name)
        moments.setdefault(int(i), {})[moment] = tensors[name]
    if "random.cpu" not in tensors:
        raise damaged(home / "training.safetensors", "no random state")
    optimizer.load_state_dict({**known, "state": moments})
    torch.set_rng_state(tensors["random.cpu"])
    if torch.cuda.is_available() and "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])


def read_state(home: Path) -> dict:
    """What `save` was told, and the step."""
    try:
        state = json.loads((home / "state.json").read_text("utf-8"))
        if state["format"] != FORMAT:
            raise ValueError(f"format {state['format']!r}")
        return {**state["notes"], "step": int(state["step"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(home / "state.json", error) from error


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of one file."""
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise damaged(file, error) from error


def damaged(file: Path, why: object) -> ValueError:
    """The error for a file that is cut short or not ours."""
    older = steps(file.parent.parent)[:-1]
    hint = f"; without it, step {older[-1]} is the newest" if older else ""
    return ValueError(
        f"{file}: got a damaged or foreign file ({why}), expected one that "
        f"llmnotes.checkpoint wrote{hint}"
    )


def check_weights(
    home: Path, known: dict[str, Tensor], new: dict[str, Tensor]
) -> None:
    """Raise `ValueError` unless names and shapes are those of the model."""
    for name in sorted(known.keys() | new.keys()):
        got = tuple(new[name].shape) if name in new else "nothing"
        want = tuple(known[name].shape) if name in known else "nothing"
        if got != want:
            raise ValueError(
                f"{home}: got weights of another model: {name} is {got}, "
                f"expected {want}"
            )
