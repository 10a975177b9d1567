"""GPT-2 on disk, as Hugging Face writes it: config.json, model.safetensors.

Sources
1. `transformers` 5: `GPT2Config`, `GPT2LMHeadModel.save_pretrained`.
2. OpenAI's first release of GPT-2, whose names lack the prefix
   `transformer.` and whose mask lies among the weights as `attn.bias`.
"""

import json
from dataclasses import asdict, fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llmnotes.transformer.gpt.model import GPT, GPTConfig

WEIGHTS, CONFIG = "model.safetensors", "config.json"
# What this GPT computes, as far as Hugging Face's config can say otherwise.
ASSUMED = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}
BUFFERS = (".attn.bias", ".attn.masked_bias")  # the causal mask, once saved


def load_gpt2(folder: str | Path) -> GPT:
    """Return the GPT-2 that lies in `folder`, in evaluation mode.

    Raises `ValueError` naming the file, and what in it does not fit: no such
    file, a truncated one, another architecture, a wrong name or shape.
    """
    folder = Path(folder)
    model = GPT(read_config(folder / CONFIG))
    copy_weights(model, read_weights(folder / WEIGHTS), folder / WEIGHTS)
    return model.eval()


def save_gpt2(model: GPT, folder: str | Path) -> None:
    """Write `model` so that `GPT2LMHeadModel.from_pretrained` reads it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config_json(model.config)))
    weights = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def config_json(config: GPTConfig) -> dict:
    """Return what Hugging Face's config.json says about this shape."""
    known = asdict(config)
    drop = known.pop("dropout")
    drops = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), drop)
    fixed = {name: allowed[0] for name, allowed in ASSUMED.items()}
    return {"architectures": ["GPT2LMHeadModel"], **fixed, **drops, **known}


def read_config(path: Path) -> GPTConfig:
    """Read config.json; `ValueError` if it describes another model."""
    try:
        given = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    wanted = {**ASSUMED, "n_inner": (None, 4 * given.get("n_embd", 768))}
    for name, allowed in wanted.items():
        if given.get(name, allowed[0]) not in allowed:
            raise ValueError(
                f"{path}: {name}: got {given[name]!r}, expected {allowed[0]!r}"
            )
    known = {field.name for field in fields(GPTConfig)} & given.keys()
    return GPTConfig(
        **{name: given[name] for name in known},
        dropout=given.get("resid_pdrop", 0.1),
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read model.safetensors, under the names `GPT` uses."""
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    return {
        name if name.startswith(("transformer.", "lm_")) else
        f"transformer.{name}": tensor
        for name, tensor in found.items()
        if not name.endswith(BUFFERS)
    }  # fmt: skip


def copy_weights(model: GPT, found: dict[str, Tensor], path: Path) -> None:
    """Copy tensors into the model; `ValueError` for the first misfit."""
    own = model.state_dict()
    head = found.pop("lm_head.weight", None)
    for name in sorted(own.keys() ^ found.keys()):
        what = "missing" if name in own else "unknown"
        raise ValueError(f"{path}: {name} is {what}")
    for name, tensor in found.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{path}: {name}: got shape {tuple(tensor.shape)}, expected "
                f"{tuple(own[name].shape)}"
            )
    tied = found["transformer.wte.weight"]
    if head is not None and not torch.equal(head, tied):
        raise ValueError(f"{path}: lm_head.weight: got a head of its own, "
                         "expected the token embedding")  # fmt: skip
    model.load_state_dict(found)
