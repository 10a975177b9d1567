"""Real vocabularies that come inside of packages, found without importing.

    pip install --no-deps openai-whisper mistral-common

brings them, and none of what these packages need to run: GPT-2's ranks
(MIT) and the models of Mistral 7B v0.1 and v0.3 (Apache-2.0).
"""

import importlib.util
from pathlib import Path

MISTRAL = {
    "v1": "tokenizer.model.v1",
    "v3": "mistral_instruct_tokenizer_240323.model.v3",
}


def gpt2_ranks() -> Path:
    """GPT-2's 50,256 ranks, a file for `ByteBPE.from_tiktoken`.

    Raises `RuntimeError` with the command to run if it is not installed.
    """
    return inside("whisper", "openai-whisper", "assets/gpt2.tiktoken")


def mistral_model(version: str) -> Path:
    """Mistral's model "v1" or "v3", for `SentencePieceBPE.from_model`.

    Raises `ValueError` for another version, `RuntimeError` with the command
    to run if it is not installed.
    """
    if version not in MISTRAL:
        raise ValueError(
            f"version: got {version!r}, expected {' or '.join(MISTRAL)}"
        )
    file = f"data/{MISTRAL[version]}"
    return inside("mistral_common", "mistral-common", file)


def inside(package: str, wheel: str, file: str) -> Path:
    """A file that lies in an installed package."""
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    if path is None or not path.exists():
        raise RuntimeError(
            f"{Path(file).name} is not here: pip install --no-deps {wheel} "
            "brings it"
        )
    return path
