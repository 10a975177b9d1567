"""CLIP on disk, as Hugging Face writes it.

    folder  = config.json, with one shape for each tower, and the weights
    assumed = what our model computes, as far as config.json can say otherwise

Sources
- `transformers` 5: `CLIPConfig`, `CLIPModel.save_pretrained`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from llmnotes import foreign
from llmnotes.diffusion.clip.config import (
    CLIPConfig,
    TextConfig,
    TowerConfig,
    VisionConfig,
)
from llmnotes.diffusion.clip.model import CLIP

# What this CLIP computes, as far as Hugging Face's config can say otherwise.
ASSUMED = {"model_type": ("clip",)}
TOWER = {"attention_dropout": (0.0, 0)}
TOWERS = {"text_config": TextConfig, "vision_config": VisionConfig}
BUFFER = ".embeddings.position_ids"  # 0, 1, 2, …: once saved, not learned


def from_pretrained(folder: str | Path) -> CLIP:
    """Return the CLIP that lies in `folder`, in evaluation mode.

    Its weights are of torch's default dtype, whatever those of the file.

    Raises `ValueError` naming the file, and all in it that does not fit: no
    such file, a truncated one, another architecture, wrong names or shapes.
    """
    model = CLIP(read_config(Path(folder) / foreign.CONFIG))
    foreign.load(model, folder, rename=rename)
    return model.eval()


def save_pretrained(model: CLIP, folder: str | Path) -> None:
    """Write `model` so that `CLIPModel.from_pretrained` reads it."""
    given = asdict(model.config)
    for name in TOWERS:
        given[name] |= {"projection_dim": model.config.projection_dim}
    known = {"architectures": ["CLIPModel"], "model_type": "clip"}
    foreign.save(folder, known | given, model.state_dict())


def rename(name: str) -> str | None:
    """Their name of a tensor -> ours; None for numbered places."""
    return None if name.endswith(BUFFER) else name


def read_config(path: Path) -> CLIPConfig:
    """Read config.json; `ValueError` if it describes another model."""
    given = foreign.read_json(path)
    wrong, towers = foreign.surprises(given, ASSUMED), {}
    for name, kind in TOWERS.items():
        try:
            towers[name] = read_tower(path, given, name, kind)
        except ValueError as error:
            wrong.append(str(error).removeprefix(f"{path}: "))
    foreign.refuse(path, wrong)
    return foreign.shape(path, given | towers, CLIPConfig)


def read_tower(
    path: Path, given: Mapping, name: str, kind: type[TowerConfig]
) -> TowerConfig:
    """The shape of one tower.

    Files of before 2023 may hold it as `text_config_dict`, which then counts
    alone, as in transformers.
    """
    shape = given.get(f"{name}_dict")
    shape = given.get(name, {}) if shape is None else shape
    if not isinstance(shape, Mapping):
        raise ValueError(f"{path}: {name}: got {shape!r}, expected an object")
    inside = Path(f"{path}: {name}")  # as errors are to say it
    return foreign.shape(inside, shape, kind, assumed=TOWER)
