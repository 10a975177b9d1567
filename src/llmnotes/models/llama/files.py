"""Llama on disk, as Hugging Face writes it.

    assumed = what our model computes, as far as config.json can say otherwise

From transformers 5 on the numbers of RoPE lie in `rope_parameters`, before
in `rope_theta` and `rope_scaling`; both are read, and the older is written,
which every version understands.

Sources
- `transformers` 5: `LlamaConfig`, `LlamaForCausalLM.save_pretrained`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from torch import nn
from torch.overrides import TorchFunctionMode

from llmnotes import foreign
from llmnotes.models.llama.config import LlamaConfig
from llmnotes.models.llama.model import Llama

# What this Llama computes, as far as Hugging Face's config can say otherwise.
ASSUMED = {
    "model_type": ("llama",),
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "attention_dropout": (0.0,),
    "sliding_window": (None,),  # Mistral's; a Llama would pass over it
}
BUFFER = ".rotary_emb.inv_freq"  # angles, once saved with the weights
TIED = {"lm_head.weight": "model.embed_tokens.weight"}

AnyLlama = TypeVar("AnyLlama", bound=Llama)
AnyConfig = TypeVar("AnyConfig", bound=LlamaConfig)


def from_pretrained(folder: str | Path) -> Llama:
    """Return the Llama that lies in `folder`, in evaluation mode.

    Its weights are of torch's default dtype, whatever those of the file.

    Raises `ValueError` naming the file, and all in it that does not fit: no
    such file, a truncated one, another architecture, wrong names or shapes.
    """
    config = read_config(Path(folder) / foreign.CONFIG, LlamaConfig, ASSUMED)
    return filled(Llama, config, folder)


def save_pretrained(model: Llama, folder: str | Path) -> None:
    """Write `model` so that `LlamaForCausalLM.from_pretrained` reads it."""
    given = config_json(model.config, ASSUMED, "LlamaForCausalLM")
    foreign.save(folder, given, model.state_dict())


def filled(
    kind: type[AnyLlama], config: LlamaConfig, folder: str | Path
) -> AnyLlama:
    """A model of this shape with the weights that lie in a folder."""
    model = empty(kind, config)
    tied = TIED if config.tie_word_embeddings else {}
    foreign.load(model, folder, rename=rename, tied=tied)
    return model.eval()


def empty(kind: type[AnyLlama], config: LlamaConfig) -> AnyLlama:
    """A model to be filled: random numbers would only be thrown away."""
    with Undrawn():
        return kind(config)


DRAWS = nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_


class Undrawn(TorchFunctionMode):
    """Meanwhile a new module is left as memory happens to be.

    The meta device would do the same, but drawing there makes PyTorch load
    its compiler first, which takes longer than to load a small model.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        """Leave a tensor as it is that was to be filled."""
        if function in DRAWS:
            return kwargs["tensor"]
        return function(*args, **(kwargs or {}))


def rename(name: str) -> str | None:
    """Their name of a tensor -> ours; None for the angles."""
    return None if name.endswith(BUFFER) else name


def read_config(
    path: Path, kind: type[AnyConfig], assumed: Mapping[str, tuple]
) -> AnyConfig:
    """Read config.json; `ValueError` if it describes another model."""
    given = flattened(foreign.read_json(path))
    return foreign.shape(path, given, kind, assumed=assumed)


def flattened(given: Mapping) -> dict:
    """A config.json with RoPE's numbers where they lay before version 5."""
    given = dict(given)
    rope = given.pop("rope_parameters", None)
    if isinstance(rope, Mapping):
        rope = dict(rope)
        if "rope_theta" in rope:
            given["rope_theta"] = rope.pop("rope_theta")
        given["rope_scaling"] = rope
    return given


def config_json(
    config: LlamaConfig, assumed: Mapping[str, tuple], architecture: str
) -> dict:
    """Return what Hugging Face's config.json says about this shape."""
    known = asdict(config)
    if config.rope_scaling is not None:
        known["rope_scaling"] = {"rope_type": "llama3"} | known["rope_scaling"]
    fixed = {name: allowed[0] for name, allowed in assumed.items()}
    return {"architectures": [architecture], **fixed, **known}
