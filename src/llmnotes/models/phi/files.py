"""Phi on disk, as Hugging Face writes it; config.json says which Phi.

    assumed   = what our model computes, as far as config.json can say
                otherwise
    rope_type = the kind of RoPE, wherever config.json has it
    theirs    = {our part of a name: theirs}

Since transformers 5 the numbers of RoPE, and how much of a head it turns, lie
in `rope_parameters`, before they lay beside the others; both are read, and
the older is written, which every version understands.

Sources
- `transformers` 5: `PhiConfig`, `Phi3Config`, their `ForCausalLM` models.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from llmnotes import foreign
from llmnotes.models.llama import files as llama
from llmnotes.models.phi.config import Phi3Config, PhiConfig
from llmnotes.models.phi.model import PartlyTurned, Phi
from llmnotes.models.phi.phi3 import Phi3

# No model of ours knows tokens; their defaults may lie beyond a small table.
TOKENS = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))


@dataclass(frozen=True)
class Family:
    """One of their architectures: its classes, names, and what is fixed."""

    build: type[PartlyTurned]
    shape: type
    architecture: str
    assumed: Mapping[str, tuple]
    fields: Mapping[str, str] = field(default_factory=dict)  # ours: theirs
    theirs: Mapping[str, str] = field(default_factory=dict)

    def rename(self, name: str) -> str | None:
        """Their name of a tensor -> ours; None for the angles."""
        kept = llama.rename(name)
        for ours, part in self.theirs.items():
            kept = kept and kept.replace(part, ours)
        return kept

    def renamed(self, name: str) -> str:
        """Our name of a tensor -> theirs."""
        for ours, part in self.theirs.items():
            name = name.replace(ours, part)
        return name


FAMILIES = {
    "phi": Family(
        Phi,
        PhiConfig,
        "PhiForCausalLM",
        assumed={
            "hidden_act": ("gelu_new", "gelu_pytorch_tanh"),
            "qk_layernorm": (False,),
            "attention_dropout": (0.0, None),
            "embd_pdrop": (0.0,),
            "rope_type": ("default",),
        },
        fields={"rms_norm_eps": "layer_norm_eps"},
        theirs={"model.norm.": "model.final_layernorm.", ".o_proj": ".dense"},
    ),
    "phi3": Family(
        Phi3,
        Phi3Config,
        "Phi3ForCausalLM",
        assumed={
            "hidden_act": ("silu",),
            "attention_bias": (False,),
            "attention_dropout": (0.0,),
            "embd_pdrop": (0.0,),
            "resid_pdrop": (0.0,),
            "rope_type": ("default",),
        },
    ),
}


def from_pretrained(folder: str | Path) -> Phi | Phi3:
    """Return the Phi that lies in `folder`, in evaluation mode.

    Its weights are of torch's default dtype, whatever those of the file.

    Raises `ValueError` naming the file, and all in it that does not fit: no
    such file, a truncated one, another architecture, wrong names or shapes.
    """
    path = Path(folder) / foreign.CONFIG
    given = flattened(foreign.read_json(path))
    kind = given.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = " or ".join(map(repr, FAMILIES))
        foreign.refuse(path, [f"model_type: got {kind!r}, expected {known}"])
    family = FAMILIES[kind]
    config = foreign.shape(
        path, given, family.shape, family.fields, family.assumed
    )
    return filled(family, config, folder)


def filled(
    family: Family, config: PhiConfig | Phi3Config, folder: str | Path
) -> Phi | Phi3:
    """A model of this shape with the weights that lie in a folder."""
    model = llama.empty(family.build, config)
    tied = llama.TIED if config.tie_word_embeddings else {}
    foreign.load(model, folder, rename=family.rename, tied=tied)
    return model.eval()


def save_pretrained(model: Phi | Phi3, folder: str | Path) -> None:
    """Write `model` so that their `from_pretrained` reads it.

    Whoever generates with it there has to say which tokens end a text: our
    models do not know.
    """
    kind, family = next(
        (kind, family)
        for kind, family in FAMILIES.items()
        if isinstance(model, family.build)
    )
    weights = {family.renamed(k): v for k, v in model.state_dict().items()}
    foreign.save(folder, config_json(kind, model.config), weights)


def config_json(kind: str, config: PhiConfig | Phi3Config) -> dict[str, Any]:
    """Return what Hugging Face's config.json says about this shape."""
    family = FAMILIES[kind]
    fixed = {name: allowed[0] for name, allowed in family.assumed.items()}
    del fixed["rope_type"]
    known = {family.fields.get(k, k): v for k, v in asdict(config).items()}
    said = {"architectures": [family.architecture], "model_type": kind}
    return {**said, **TOKENS, **fixed, **known}


def flattened(given: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json with what it says of RoPE at the top."""
    given = llama.flattened(given)
    rope = given.pop("rope_scaling", None)
    if isinstance(rope, Mapping):
        kind = rope.get("rope_type", rope.get("type", "default"))
        given["rope_type"] = kind
        if "partial_rotary_factor" in rope:
            given["partial_rotary_factor"] = rope["partial_rotary_factor"]
    elif rope is not None:
        given["rope_type"] = rope
    return given
