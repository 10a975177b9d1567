"""Mixtrals on disk, as Hugging Face writes them.

    w1, w3, w2 = W_gate, W_up, W_down of one expert, in files
    assumed    = what our model computes, as far as config.json can say
                 otherwise

In memory transformers 5 holds the experts of a layer in two tensors, as we
do; in files, as before, each expert has three matrices of its own, and the
layer's `mlp` is called `block_sparse_moe`. Here a file's tensors are views
of the model's: reading writes into them, writing reads them.

Source
- `transformers` 5: `MixtralForCausalLM`, and its conversion_mapping.
"""

from pathlib import Path

from torch import Tensor, nn

from llmnotes import foreign
from llmnotes.models.llama.files import (
    TIED,
    config_json,
    empty,
    read_config,
    rename,
)
from llmnotes.models.moe.config import MixtralConfig
from llmnotes.models.moe.model import Mixtral

# What this Mixtral computes, as far as Hugging Face's config can say
# otherwise. A config of the first week has a window of 4096: an error.
ASSUMED = {
    "model_type": ("mixtral",),
    "hidden_act": ("silu",),
    "attention_dropout": (0.0,),
    "sliding_window": (None,),
    "router_jitter_noise": (0.0,),
}


def from_pretrained(folder: str | Path) -> Mixtral:
    """Return the Mixtral that lies in `folder`, in evaluation mode.

    Its weights are of torch's default dtype, whatever those of the file.

    Raises `ValueError` naming the file, and all in it that does not fit.
    """
    config = read_config(Path(folder) / foreign.CONFIG, MixtralConfig, ASSUMED)
    model = empty(Mixtral, config)
    tied = TIED if config.tie_word_embeddings else {}
    foreign.load(OnDisk(model), folder, rename=rename, tied=tied)
    return model.eval()


def save_pretrained(model: Mixtral, folder: str | Path) -> None:
    """Write `model` so that `MixtralForCausalLM.from_pretrained` reads it."""
    given = config_json(model.config, ASSUMED, "MixtralForCausalLM")
    foreign.save(folder, given, OnDisk(model).state_dict())


class OnDisk(nn.Module):
    """A model whose state dict has the names and tensors of the files."""

    def __init__(self, model: Mixtral):
        super().__init__()
        self.model = model

    def state_dict(self) -> dict[str, Tensor]:
        """Views of the model's tensors, under the names in files."""
        found = {}
        for name, tensor in self.model.state_dict().items():
            found |= split(name.replace(".mlp.", ".block_sparse_moe."), tensor)
        return found


def split(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """One tensor of a model as the tensors of a file."""
    layer, _, which = name.rpartition(".experts.")
    if which == "gate_up_proj":
        w1, w3 = tensor.chunk(2, dim=1)
        parts = {"w1": w1, "w3": w3}
    elif which == "down_proj":
        parts = {"w2": tensor}
    else:
        return {name: tensor}
    return {
        f"{layer}.experts.{i}.{short}.weight": matrix
        for short, stack in parts.items()
        for i, matrix in enumerate(stack)
    }
