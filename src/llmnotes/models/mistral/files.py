"""Mistral on disk, as Hugging Face writes it.

    assumed = what our model computes, as far as config.json can say otherwise

Sources
- `transformers` 5: `MistralConfig`, `MistralForCausalLM.save_pretrained`.
"""

from pathlib import Path

from llmnotes import foreign
from llmnotes.models.llama.files import config_json, filled, read_config
from llmnotes.models.mistral.config import MistralConfig
from llmnotes.models.mistral.model import Mistral

ASSUMED = {
    "model_type": ("mistral",),
    "hidden_act": ("silu",),
    "attention_dropout": (0.0,),
    "layer_types": (None,),  # Ministral's: another window in every layer
}


def from_pretrained(folder: str | Path) -> Mistral:
    """Return the Mistral that lies in `folder`, in evaluation mode.

    Its weights are of torch's default dtype, whatever those of the file.

    Raises `ValueError` naming the file, and all in it that does not fit, as
    for Llama.
    """
    path = Path(folder) / foreign.CONFIG
    config = read_config(path, MistralConfig, ASSUMED)
    return filled(Mistral, config, folder)


def save_pretrained(model: Mistral, folder: str | Path) -> None:
    """Write `model` so that `MistralForCausalLM.from_pretrained` reads it."""
    given = config_json(model.config, ASSUMED, "MistralForCausalLM")
    given.pop("layer_types")
    foreign.save(folder, given, model.state_dict())
