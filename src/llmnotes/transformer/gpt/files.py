"""GPT-2 on disk, as Hugging Face writes it.

Sources
- `transformers` 5: `GPT2Config`, `GPT2LMHeadModel.save_pretrained`.
- OpenAI's first release of GPT-2, whose names lack the prefix
  `transformer.` and whose mask lies among the weights as `attn.bias`.
"""

from dataclasses import asdict
from pathlib import Path

from llmnotes import foreign
from llmnotes.transformer.gpt.model import GPT, GPTConfig

# What this GPT computes, as far as Hugging Face's config can say otherwise.
ASSUMED = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}
# Three numbers there, one here; 0.1 is what a silent config.json means.
DROPOUTS = {"resid_pdrop": 0.1, "attn_pdrop": 0.1, "embd_pdrop": 0.1}
BUFFERS = (".attn.bias", ".attn.masked_bias")  # the causal mask, once saved
TIED = {"lm_head.weight": "transformer.wte.weight"}


def load_gpt2(folder: str | Path) -> GPT:
    """Return the GPT-2 that lies in `folder`, in evaluation mode.

    Raises `ValueError` naming the file, and what in it does not fit: no such
    file, a truncated one, another architecture, wrong names or shapes.
    """
    model = GPT(read_config(Path(folder) / foreign.CONFIG))
    foreign.load(model, folder, rename=rename, tied=TIED)
    return model.eval()


def save_gpt2(model: GPT, folder: str | Path) -> None:
    """Write `model` so that `GPT2LMHeadModel.from_pretrained` reads it."""
    foreign.save(folder, config_json(model.config), model.state_dict())


def config_json(config: GPTConfig) -> dict:
    """Return what Hugging Face's config.json says about this shape."""
    known = asdict(config)
    drops = dict.fromkeys(DROPOUTS, known.pop("dropout"))
    fixed = {name: allowed[0] for name, allowed in ASSUMED.items()}
    return {"architectures": ["GPT2LMHeadModel"], **fixed, **drops, **known}


def read_config(path: Path) -> GPTConfig:
    """Read config.json; `ValueError` if it describes another model."""
    given = DROPOUTS | foreign.read_json(path)
    foreign.require(path, given, ASSUMED)
    names = {"dropout": "resid_pdrop"}
    config = foreign.shape(path, given, GPTConfig, names)
    same = dict.fromkeys(DROPOUTS, (config.dropout,))
    width = {"n_inner": (None, 4 * config.n_embd)}
    foreign.require(path, given, same | width)
    return config


def rename(name: str) -> str | None:
    """Their name of a tensor -> ours, OpenAI's too; None for the mask."""
    if name.endswith(BUFFERS):
        return None
    known = name.startswith(("transformer.", "lm_head."))
    return name if known else f"transformer.{name}"
