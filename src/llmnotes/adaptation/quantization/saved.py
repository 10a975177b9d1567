"""A model of ours in one .gguf file, and back.

    about     = the model's name, its shape, its characters or the digest of
                its pieces: what a checkpoint says of it
    tokenizer = its pieces, where it reads pieces
    kind      = the format that is asked for
    instead   = the format where a row is no multiple of its blocks

Matrices are quantized. Gains, biases, the table of positions and the router
of a mixture stay float32, as in llama.cpp: they are few, and much depends on
each. So does a matrix whose rows are no multiple of 32.

Sources
- llama.cpp, `llama-quant.cpp`: which tensors stay, and what is taken instead.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple

import torch
from torch import Tensor, nn

from llmnotes import presets, weights
from llmnotes.adaptation.quantization import gguf
from llmnotes.adaptation.quantization.ggml import F32, FORMATS, WHOLE, Ggml
from llmnotes.adaptation.quantization.llama_cpp import FAMILIES, Family
from llmnotes.foundations.tokenizers import ByteBPE
from llmnotes.foundations.tokenizers.files import to_bytes, written

ABOUT = "llmnotes.about"
STAYS = "position_embd.", ".ffn_gate_inp."
KINDS = {kind.name(): kind for kind in (*WHOLE, *FORMATS)}
INSTEAD = {"q2_k": "q4_0", "q3_k": "q4_0", "q4_k": "q5_0", "q5_k": "q5_1"}
INSTEAD |= {"q6_k": "q8_0"}
# llama.cpp's number for a file that is mostly of one format.
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8}
FILE_TYPES |= {"q5_1": 9, "q2_k": 10, "q3_k": 11, "q4_k": 14, "q5_k": 16}
FILE_TYPES |= {"q6_k": 18, "bf16": 32}


class Saved(NamedTuple):
    """What a file holds."""

    model: nn.Module
    about: dict
    tokenizer: ByteBPE | None


def save(
    path: str | Path,
    model: nn.Module,
    about: Mapping,
    kind: str,
    tokenizer: ByteBPE | None = None,
) -> dict[str, Ggml]:
    """Write a model in one file; return its tensors under llama.cpp's names.

    Raises `ValueError` for an unknown kind or model, and weights that are not
    finite.
    """
    presets.known("kind", kind, KINDS)
    family = family_of(about)
    tensors = {}
    for name, x in weights.weights(model).items():
        for theirs, piece in family.theirs(name, x, model.config).items():
            tensors[theirs] = quantized(theirs, piece, kind)
    told = facts(family, model.config, about, kind, tokenizer)
    gguf.write(path, told, tensors)
    return tensors


def family_of(about: Mapping) -> Family:
    """How llama.cpp has a model."""
    return presets.known("model", about.get("model"), FAMILIES)


def quantized(name: str, x: Tensor, kind: str) -> Ggml:
    """A tensor in the format that is asked for, or the next that fits."""
    try:
        return suitable(name, x, kind).encode(x)
    except ValueError as error:
        why = str(error).removeprefix("weight: ")
        raise ValueError(f"{name}: {why}") from None


def suitable(name: str, x: Tensor, kind: str) -> type[Ggml]:
    """The format that is asked for, or the next that fits."""
    if x.dim() < 2 or any(part in name for part in STAYS):
        return F32
    for wanted in (kind, INSTEAD.get(kind, kind)):
        if x.shape[-1] % KINDS[wanted].size == 0:
            return KINDS[wanted]
    return F32


def facts(family: Family, config, about: Mapping, kind: str, tokenizer):
    """All that a file says besides its tensors."""
    name = family.architecture
    shape = {f"{name}.{k}": v for k, v in family.facts(config).items()}
    return {
        "general.architecture": name,
        "general.name": about["model"],
        "general.alignment": gguf.ALIGNMENT,
        "general.quantization_version": 2,
        "general.file_type": FILE_TYPES[kind],
        f"{name}.vocab_size": config.vocab_size,
        **shape,
        **(pieces(tokenizer) if tokenizer else characters(about)),
        ABOUT: json.dumps(dict(about)),
    }


def characters(about: Mapping) -> dict:
    """What is said of characters: llama.cpp then knows no words."""
    return {
        "tokenizer.ggml.model": "none",
        "tokenizer.ggml.tokens": list(about["symbols"]),
    }


def pieces(tokenizer: ByteBPE) -> dict:
    """GPT-2's two files as llama.cpp keeps them."""
    tokens = [tokenizer.vocabulary[i] for i in range(tokenizer.size)]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": [written(piece) for piece in tokens],
        "tokenizer.ggml.token_type": [1] * len(tokens),  # all are normal
        "tokenizer.ggml.merges": [
            f"{written(a)} {written(b)}" for a, b in tokenizer.merges
        ],
    }


def load(path: str | Path) -> Saved:
    """Return the model in a file, dequantized and in evaluation mode.

    Raises `ValueError` naming the file, if it cannot be read, was not
    written by `save`, or lacks a tensor.
    """
    found = gguf.read(path)
    try:
        about = json.loads(found.facts[ABOUT])
        family = family_of(about)
        entry = presets.model(about["model"])
        config = resolve_name(entry.config)(**about["shape"])
        tokenizer = recalled(found.facts) if "pieces" in about else None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: got no shape of a model of ours ({error}), expected a "
            "file that llmnotes quantize wrote"
        ) from error
    model = resolve_name(entry.build)(config)
    tensors = {k: x.dequantize() for k, x in found.tensors.items()}
    fill(path, model, family, tensors)
    return Saved(model.eval(), about, tokenizer)


def recalled(facts: Mapping) -> ByteBPE:
    """The pieces that a file holds."""
    tokens = map(to_bytes, facts["tokenizer.ggml.tokens"])
    pairs = (
        tuple(map(to_bytes, line.split(" ")))
        for line in facts["tokenizer.ggml.merges"]
    )
    ids = {piece: i for i, piece in enumerate(tokens)}
    return ByteBPE(ids, {pair: i for i, pair in enumerate(pairs)})


def fill(path, model: nn.Module, family: Family, tensors: Mapping) -> None:
    """Put tensors into a model; `ValueError` if they are not its own."""
    new, own = {}, weights.weights(model)
    for name in own:
        try:
            new[name] = family.ours(name, tensors, model.config)
        except KeyError as error:
            raise ValueError(
                f"{path}: got no tensor {error.args[0]}, expected one"
            ) from None
    weights.check_same(Path(path), own, new, to_the_bit=False)
    with torch.no_grad():
        for name, x in own.items():
            x.copy_(new[name])


def summary(tensors: Mapping[str, Ggml]) -> str:
    """How many weights in how many bytes, and of which formats."""
    count = sum(x.shape.numel() for x in tensors.values())
    size = sum(x.nbytes for x in tensors.values())
    kinds = Counter(x.name() for x in tensors.values())
    formats = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    return (
        f"{count:,} weights in {size:,} bytes, {8 * size / count:.2f} "
        f"bits each; tensors: {formats}"
    )
