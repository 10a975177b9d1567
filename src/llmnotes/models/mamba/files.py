"""Mamba and Mamba-2 on disk, as Hugging Face writes them.

    assumed = what our models compute, as far as config.json can say otherwise

Sources
- `transformers` 5: `MambaConfig`, `Mamba2Config`, their `ForCausalLM` models.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmnotes import foreign
from llmnotes.models.llama.files import Undrawn
from llmnotes.models.mamba.config import (
    AnyMambaConfig,
    Mamba2Config,
    MambaConfig,
)
from llmnotes.models.mamba.mamba2 import Mamba2
from llmnotes.models.mamba.model import Mamba

TIED = {"lm_head.weight": "backbone.embeddings.weight"}
OLD = "backbone.embedding."  # in the first checkpoints
ASSUMED = {"hidden_act": ("silu",)}
LIMIT, ENDLESS = "time_step_limit", {"__float__": "Infinity"}
# Our models know no tokens; their defaults may lie beyond a small table.
TOKENS = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))


@dataclass(frozen=True)
class Family:
    """One of their architectures and ours."""

    build: type[Mamba]
    shape: type[AnyMambaConfig]
    architecture: str


FAMILIES = {
    "mamba": Family(Mamba, MambaConfig, "MambaForCausalLM"),
    "mamba2": Family(Mamba2, Mamba2Config, "Mamba2ForCausalLM"),
}


def from_pretrained(folder: str | Path) -> Mamba | Mamba2:
    """Return the Mamba or Mamba-2 in `folder`, in evaluation mode.

    Its weights are of torch's default dtype, whatever those of the file.

    Raises `ValueError` naming the file, and all in it that does not fit: no
    such file, a truncated one, another architecture, wrong names or shapes.
    """
    path = Path(folder) / foreign.CONFIG
    given = foreign.read_json(path)
    kind = given.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = " or ".join(map(repr, FAMILIES))
        foreign.refuse(path, [f"model_type: got {kind!r}, expected {known}"])
    family = FAMILIES[kind]
    given = given | {
        name: [finite_or_not(part) for part in value]
        for name, value in given.items()
        if name == LIMIT and isinstance(value, list)
    }
    config = foreign.shape(path, given, family.shape, assumed=ASSUMED)
    return filled(family.build, config, folder)


def finite_or_not(value: Any) -> Any:
    """Infinity, as they write it in JSON, which has no such number."""
    return math.inf if value == ENDLESS else value


def filled(
    build: type[Mamba], config: AnyMambaConfig, folder: str | Path
) -> Mamba | Mamba2:
    """A model of this shape with the weights that lie in a folder."""
    with Undrawn():  # random numbers would only be thrown away
        model = build(config)
    tied = TIED if config.tie_word_embeddings else {}
    foreign.load(model, folder, rename=rename, tied=tied)
    return model.eval()


def rename(name: str) -> str:
    """Their name of a tensor -> ours."""
    return name.replace(OLD, "backbone.embeddings.")


def save_pretrained(model: Mamba | Mamba2, folder: str | Path) -> None:
    """Write `model` so that their `from_pretrained` reads it."""
    kind = "mamba2" if isinstance(model, Mamba2) else "mamba"
    given = config_json(kind, model.config)
    foreign.save(folder, given, model.state_dict())


def config_json(kind: str, config: AnyMambaConfig) -> Mapping[str, Any]:
    """Return what Hugging Face's config.json says about this shape."""
    said = {
        "architectures": [FAMILIES[kind].architecture],
        "model_type": kind,
    }
    fixed = {name: allowed[0] for name, allowed in ASSUMED.items()}
    known = asdict(config)
    if LIMIT in known:
        written = (ENDLESS if x == math.inf else x for x in known[LIMIT])
        known[LIMIT] = list(written)
    return {**said, **TOKENS, **fixed, **known}
