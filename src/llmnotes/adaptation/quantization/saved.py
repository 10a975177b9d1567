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

from llmnotes import foreign, presets, weights
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


# What comes of reading facts that a stranger wrote.
STRANGE = ArithmeticError, AttributeError, LookupError, RecursionError
STRANGE += TypeError, ValueError


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

    Raises `ValueError` for an unknown kind or model, another model than
    `about` says, one with adapters or in few bits, no symbols, and weights
    that are not finite.
    """
    presets.known("kind", kind, KINDS)
    family, model = family_of(about), weights.bare(model)
    check_model(model, about)
    if tokenizer is None:
        symbols_of(about)
    tensors = {}
    for name, x in weights.weights(model).items():
        for theirs, piece in renamed(family, name, x, model.config).items():
            tensors[theirs] = quantized(theirs, piece, kind)
    told = facts(family, model.config, about, kind, tokenizer)
    gguf.write(path, told, tensors)
    return tensors


def check_model(model: nn.Module, about: Mapping) -> None:
    """Raise `ValueError` for another model than is said."""
    kind = resolve_name(presets.model(about["model"]).build)
    if not isinstance(model, kind):
        raise ValueError(
            f"model: got {type(model).__name__}, expected {kind.__name__}, "
            f"which about calls {about['model']!r}"
        )


def symbols_of(about: Mapping) -> str:
    """The characters that a model reads; `ValueError` if it says none."""
    found = about.get("symbols")
    if not isinstance(found, str) or not found:
        raise ValueError(
            f"about: symbols: got {found!r}, expected the characters that "
            "the model reads"
        )
    return found


def renamed(family: Family, name: str, x: Tensor, config) -> dict:
    """A tensor under llama.cpp's names; `ValueError` if it has none."""
    try:
        return family.theirs(name, x, config)
    except KeyError:
        raise ValueError(
            f"model: got a weight {name}, which has no name in llama.cpp, "
            "expected a model without adapters, in its own numbers"
        ) from None


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
        gguf.ALIGNED: gguf.ALIGNMENT,
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
        config = resolve_name(entry.config)
        config = foreign.shape(Path(path), about["shape"], config)
        pieces = "pieces" in about
        tokenizer = recalled(found.facts) if pieces else None
        read = tokenizer.size if pieces else len(set(symbols_of(about)))
        if read != config.vocab_size:
            raise ValueError(f"{read} tokens for {config.vocab_size} numbers")
    except STRANGE as error:
        why = str(error).removeprefix(f"{path}: ").splitlines() or [""]
        raise ValueError(
            f"{path}: got no shape of a model of ours ({why[0]}), expected a "
            "file that llmnotes quantize wrote"
        ) from error
    build = resolve_name(entry.build)
    check_shape(path, family, config, build, found.tensors)
    model = build(config)
    tensors = {k: x.dequantize() for k, x in found.tensors.items()}
    fill(path, model, family, tensors)
    return Saved(model.eval(), about, tokenizer)


def check_shape(path, family: Family, config, build, found: Mapping) -> None:
    """Raise `ValueError` unless the tensors are those of the shape.

    Before a model is made: a file of few bytes may ask for one of any size.
    """
    blocks = {name.split(".")[1] for name in found if name[:4] == "blk."}
    asked = family.facts(config)["block_count"]
    if asked != len(blocks):
        raise ValueError(
            f"{path}: got tensors of {len(blocks)} blocks, expected {asked}"
        )
    for name, shape in shapes(path, family, config, build).items():
        if name not in found:
            raise ValueError(f"{path}: got no tensor {name}, expected one")
        if found[name].shape != shape:
            raise ValueError(
                f"{path}: got weights of another model: {name} is "
                f"{tuple(found[name].shape)}, expected {tuple(shape)}"
            )


def shapes(path, family: Family, config, build) -> dict[str, torch.Size]:
    """The shapes that a model's tensors have in a file."""
    try:
        with torch.device("meta"):  # no memory
            model = build(config)
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(f"{path}: got a shape of no model: {why}") from None
    return {
        theirs: piece.shape
        for name, x in model.named_parameters()
        for theirs, piece in family.theirs(name, x, config).items()
    }


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
