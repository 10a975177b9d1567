"""Checkpoints that others wrote, as Hugging Face lays them in a folder.

    config.json                   which model it is
    model.safetensors             its weights
    model.safetensors.index.json  or, when they lie in several files (shards),
                                  which file holds which tensor
    file    = the weights' name where it is another; diffusers has its own
    given   = what config.json says
    assumed = what our model computes, as far as config.json can say
              otherwise: {name: the values that fit, the usual one first}
    rename  = their name of a tensor -> ours; None: we have no such tensor
    wrapper = what was put around a model before it was saved: its names
              begin with _orig_mod. (torch.compile) or module. (DataParallel)
    tied    = {name: the other name of the same tensor}; a file may hold it
              under the first, the second or both

Sources
- `transformers` 5: `PreTrainedConfig`, `PreTrainedModel.save_pretrained`.
- safetensors: a JSON header and raw tensors; a file that was cut short is
  recognised.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, equal, nn

from llmnotes.weights import plain_name

CONFIG, WEIGHTS = "config.json", "model.safetensors"
INDEX_END = ".index.json"
INDEX = WEIGHTS + INDEX_END
PARALLEL = "module."
SHOWN = 8  # names of a list of misfits; the rest is counted
SCALARS = {int, float, bool, str, type(None)}

Config = TypeVar("Config")
Rename = Callable[[str], str | None]


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; `ValueError` if there is none."""
    try:
        found = json.loads(path.read_bytes())  # bytes: no locale has a say
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from None
    if not isinstance(found, dict):
        raise ValueError(
            f"{path}: got {json.dumps(found)[:40]}, expected a JSON object"
        )
    return found


def unreadable(path: Path, error: Exception) -> ValueError:
    """The error for a file that is not there, cut short or of another kind."""
    why = getattr(error, "strerror", None) or error
    return ValueError(f"{path}: cannot be read: {why}")


def require(path: Path, given: Mapping, assumed: Mapping[str, tuple]) -> None:
    """`ValueError` if config.json asks for what our model does not compute."""
    refuse(path, surprises(given, assumed))


def surprises(given: Mapping, assumed: Mapping[str, tuple]) -> list[str]:
    """What config.json asks for and our model does not compute."""
    return [
        f"{name}: got {given[name]!r}, expected "
        + " or ".join(map(repr, allowed))
        for name, allowed in assumed.items()
        if given.get(name, allowed[0]) not in allowed
    ]


def refuse(path: Path, wrong: list[str]) -> None:
    """`ValueError` that lists what is wrong with a file, if anything is."""
    if wrong:
        raise ValueError(f"{path}: " + "\n  ".join(wrong))


def shape(
    path: Path,
    given: Mapping[str, Any],
    kind: type[Config],
    names: Mapping[str, str] | None = None,
    assumed: Mapping[str, tuple] | None = None,
) -> Config:
    """A config of ours from what config.json says; the rest stays out.

    `names` holds {our field: theirs} where they differ. Raises `ValueError`
    naming the file and the fields that are of another type or cannot be,
    together with what is not as `assumed`.
    """
    values, wrong = {}, surprises(given, assumed or {})
    for field, wanted in get_type_hints(kind).items():
        theirs = (names or {}).get(field, field)
        if theirs in given:
            try:
                values[field] = typed(path, theirs, given[theirs], wanted)
            except ValueError as error:
                wrong.append(str(error).removeprefix(f"{path}: "))
    refuse(path, wrong)
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def typed(path: Path, name: str, value: Any, wanted: Any) -> Any:
    """A value from JSON, if it is of a field's type; 1 may stand for 1.0.

    Fields of more than a number, a word or nothing are left to the config.
    """
    union = isinstance(wanted, UnionType)
    allowed = set(get_args(wanted)) if union else {wanted}
    if not allowed <= SCALARS or type(value) in allowed:
        return value
    if type(value) is int and float in allowed:
        return float(value)
    word = wanted if union else wanted.__name__
    raise ValueError(f"{path}: {name}: got {value!r}, expected {word}")


def read_weights(
    folder: Path, file: str = WEIGHTS
) -> tuple[Path, dict[str, Tensor]]:
    """The tensors in a folder under their names, and the file to blame."""
    single, index = folder / file, folder / (file + INDEX_END)
    if not single.exists() and index.exists():
        return index, read_shards(index)
    pickles = sorted(folder.glob("*pytorch_model*.bin"))
    if not single.exists() and pickles:
        raise ValueError(
            f"{single}: no such file, and {pickles[0].name} is a pickle, "
            "which can run code; expected safetensors: load it with "
            "the library that wrote it and call its save_pretrained"
        )
    return single, read_tensors(single)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one file."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from None


def read_shards(index: Path) -> dict[str, Tensor]:
    """The tensors that an index names, from the files it names."""
    places = read_json(index).get("weight_map")
    known = isinstance(places, dict) and all(map(is_file, places.values()))
    if not known:
        raise ValueError(
            f"{index}: weight_map: got {str(places)[:40]}, expected the name "
            "of a file beside it for each tensor"
        )
    files = dict.fromkeys(places.values())
    shards = {file: read_tensors(index.parent / file) for file in files}
    for file, shard in shards.items():
        lost = [n for n, at in places.items() if at == file and n not in shard]
        if lost:
            raise ValueError(
                f"{index.parent / file}: lacks what {index.name} says it "
                f"holds ({len(lost)}): {some(lost)}"
            )
    return {name: shards[file][name] for name, file in places.items()}


def is_file(name: Any) -> bool:
    """Whether this is a plain name; a stranger's index leads nowhere else."""
    return isinstance(name, str) and Path(name).name == name != ""


def load(
    model: nn.Module,
    folder: str | Path,
    *,
    rename: Rename = str,  # as it is
    tied: Mapping[str, str] | None = None,
    file: str = WEIGHTS,
) -> None:
    """Put the weights that lie in a folder into a model.

    Everything is checked before anything is changed. Raises `ValueError`
    naming the file and all that does not fit.
    """
    path, found = read_weights(Path(folder), file)
    put(model, found, path, rename=rename, tied=tied)


def put(
    model: nn.Module,
    found: Mapping[str, Tensor],
    path: Path,
    *,
    rename: Rename = str,
    tied: Mapping[str, str] | None = None,
) -> None:
    """Put tensors into a model; `ValueError` lists all that do not fit."""
    tied = tied or {}
    names: dict[str, list[str]] = {}  # ours -> theirs
    for name, inner in unwrapped(found, model.state_dict()).items():
        ours = rename(inner)
        if ours is not None:
            names.setdefault(ours, []).append(name)
    new = {ours: found[theirs[0]] for ours, theirs in names.items()}
    own = {k: v for k, v in model.state_dict().items() if k not in tied}
    wrong = {"twice": [" = ".join(n) for n in names.values() if len(n) > 1]}
    wrong |= untie(new, tied) | misfits(own, new, names)
    if any(wrong.values()):
        raise ValueError(f"{path}: {described(wrong)}")
    for name, tensor in own.items():
        tensor.copy_(new[name])


def unwrapped(found: Iterable[str], own: Iterable[str]) -> dict[str, str]:
    """Their names, each with what it is without wrappers.

    A model may have a part of its own that is called `module`.
    """
    names = {name: plain_name(name) for name in found}
    ours = any(name.startswith(PARALLEL) for name in own)
    while not ours and all(n.startswith(PARALLEL) for n in names.values()):
        if not names:
            break
        names = {k: n.removeprefix(PARALLEL) for k, n in names.items()}
    return names


def untie(
    new: dict[str, Tensor], tied: Mapping[str, str]
) -> dict[str, list[str]]:
    """Leave one tensor of each pair in `new`; tell of pairs that differ."""
    apart = []
    for name, other in tied.items():
        if name not in new:
            continue
        one = new.pop(name)
        two = new.setdefault(other, one)
        if one.dtype != two.dtype or not equal(one, two):
            apart.append(f"{name}: got numbers of its own, expected {other}")
    return {"not tied": apart}


def misfits(
    own: Mapping[str, Tensor],
    new: Mapping[str, Tensor],
    names: Mapping[str, list[str]],
) -> dict[str, list[str]]:
    """What is missing, what is unknown, and what is of another kind."""
    shapes, types = [], []
    for name in (name for name in own if name in new):
        got, want = new[name], own[name]
        if got.shape != want.shape:
            now, then = tuple(got.shape), tuple(want.shape)
            shapes.append(f"{name}: got shape {now}, expected {then}")
        # Whole numbers for real ones: packed weights, another format.
        if got.is_floating_point() != want.is_floating_point():
            types.append(f"{name}: got {got.dtype}, expected {want.dtype}")
    return {
        "missing": [name for name in own if name not in new],
        "unknown": [" = ".join(names[n]) for n in new if n not in own],
        "of another shape": shapes,
        "of another type": types,
    }


def described(wrong: Mapping[str, list[str]]) -> str:
    """All that does not fit: the counts in the first line, then names."""
    wrong = {what: names for what, names in wrong.items() if names}
    counts = ", ".join(f"{len(names)} {what}" for what, names in wrong.items())
    lines = (f"  {what}: {some(names)}" for what, names in wrong.items())
    return "\n".join([f"got tensors that do not fit: {counts}", *lines])


def some(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    rest = len(names) - SHOWN
    more = f", and {rest} more" if rest > 0 else ""
    return ", ".join(names[:SHOWN]) + more


def save(
    folder: str | Path,
    given: Mapping,
    weights: Mapping[str, Tensor],
    *,
    file: str = WEIGHTS,
) -> None:
    """Write what config.json says, and weights in one file."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(given), "utf-8")
    plain = {name: tensor.contiguous() for name, tensor in weights.items()}
    save_file(plain, folder / file, metadata={"format": "pt"})
