"""GPT-2's weights from elsewhere: a `GPT`, Hugging Face's files, llm.c's.

    header  = 256 numbers, int32: magic, version, T_max, V, L, NH, C, Vp
    body    = the 16 tensors, float32, in the order of `layout`

Sources
- Karpathy 2024, llm.c: train_gpt2.py, `write_model`, and train_gpt2.c,
  `gpt2_build_from_checkpoint`.
"""

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from llmnotes import foreign
from llmnotes.checkpoint import push_to_disk
from llmnotes.checks import check_sizes
from llmnotes.transformer.gpt import files
from llmnotes.transformer.gpt.model import GPT, GPTConfig
from llmnotes.transformer.gpt2_by_hand.layout import (
    Tensors,
    padded,
    parameter_shapes,
)
from llmnotes.transformer.gpt2_by_hand.model import check_weights

MAGIC, VERSION = 20240326, 3  # 3: float32, the table padded
UNPADDED, BFLOAT16 = 1, 5  # versions: the first is read, the other is not
HEADER = 256  # numbers of int32
LAYER = {  # within a layer: our name -> that of a GPT
    "ln1": "ln_1",
    "qkv": "attn.c_attn",
    "attproj": "attn.c_proj",
    "ln2": "ln_2",
    "fc": "mlp.c_fc",
    "fcproj": "mlp.c_proj",
}
TOP = {"wte": "wte", "wpe": "wpe", "lnfw": "ln_f", "lnfb": "ln_f"}


def names(config: GPTConfig) -> dict[str, list[str]]:
    """For each of the 16 the tensors of a GPT that it consists of."""
    found = {}
    for name in parameter_shapes(config):
        kind = "bias" if name.endswith("b") else "weight"
        if name in TOP:
            found[name] = [f"transformer.{TOP[name]}.{kind}"]
        else:
            part = LAYER[name[:-1]]
            found[name] = [
                f"transformer.h.{layer}.{part}.{kind}"
                for layer in range(config.n_layer)
            ]
    return found


def from_gpt(model: GPT, rows: int | None = None, dtype=np.float32) -> Tensors:
    """The weights of a GPT; `rows` of the table as in `parameter_shapes`.

    A GPT keeps its matrices (inputs, outputs), so they are transposed.
    """
    state = model.state_dict()
    weights = Tensors(parameter_shapes(model.config, rows), dtype)
    for name, parts in names(model.config).items():
        for place, part in zip(
            stacked(weights[name], parts), parts, strict=True
        ):
            array = state[part].detach().numpy()
            place[: len(flip(name, array))] = flip(name, array)
    return weights


def flip(name: str, array):
    """A layer's matrix transposed; all else as it is."""
    return array.T if name[:-1] in LAYER and array.ndim == 2 else array


def stacked(tensor: np.ndarray, parts: list[str]):
    """One array for each part: the layers of a tensor, or all of it."""
    return tensor if "transformer.h." in parts[0] else [tensor]


def to_gpt(config: GPTConfig, weights: Tensors) -> GPT:
    """The same weights as a GPT, in evaluation mode; padding is left out."""
    model = GPT(config).to(torch.from_numpy(weights.numbers[:0]).dtype)
    state = model.state_dict()
    with torch.no_grad():
        for name, parts in names(config).items():
            for array, part in zip(
                stacked(weights[name], parts), parts, strict=True
            ):
                array = flip(name, array)[: len(state[part])]
                state[part].copy_(torch.from_numpy(array))
    return model.eval()


def initial(
    config: GPTConfig,
    seed: int = 0,
    rows: int | None = None,
    dtype=np.float32,
) -> Tensors:
    """Random weights, those that a `GPT` begins with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return from_gpt(GPT(config), rows, dtype)


def read_folder(
    folder: str | Path, rows: int | None = None
) -> tuple[GPTConfig, Tensors]:
    """GPT-2 as Hugging Face writes it; its dropout is left out.

    Raises `ValueError` naming the file, and what in it does not fit.
    """
    model = files.load_gpt2(folder)
    config = replace(model.config, dropout=0.0)
    return config, from_gpt(model, rows)


def write_folder(
    folder: str | Path, config: GPTConfig, weights: Tensors
) -> None:
    """Write weights so that `GPT2LMHeadModel.from_pretrained` reads them."""
    files.save_gpt2(to_gpt(config, weights), folder)


def write_bin(path: str | Path, config: GPTConfig, weights: Tensors) -> None:
    """Write llm.c's version 3, all or nothing; the table is padded.

    Weights in another precision than float32 are rounded to it. Raises
    `ValueError` for weights of another config, and for a folder.
    """
    path = Path(path)
    check_weights(config, weights)
    if path.is_dir():
        raise ValueError(f"{path}: got a folder, expected a file to write")
    rows = max(len(weights["wte"]), padded(config.vocab_size))
    header = np.zeros(HEADER, "<i4")
    header[:8] = MAGIC, VERSION, *numbers(config), rows
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(header.tobytes())
            for name, tensor in weights.items():
                file.write(np.ascontiguousarray(tensor, "<f4"))
                if name == "wte":
                    gap = rows - len(tensor), config.n_embd
                    file.write(np.zeros(gap, "<f4"))
        push_to_disk(part)
        os.replace(part, path)
        push_to_disk(path.parent)
    finally:
        part.unlink(missing_ok=True)


def numbers(config: GPTConfig) -> tuple[int, int, int, int, int]:
    """The shape in the order of a header: T_max, V, L, NH, C."""
    return (
        config.n_positions,
        config.vocab_size,
        config.n_layer,
        config.n_head,
        config.n_embd,
    )


def read_bin(path: str | Path) -> tuple[GPTConfig, Tensors]:
    """Read llm.c's checkpoint: version 3, or 1, whose table has V rows.

    Raises `ValueError` naming the file, what came and what was expected: no
    such file, another magic or version, an impossible shape, too few or too
    many bytes. A size that does not fit is found before room is made for it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            config, rows = read_header(path, file.read(4 * HEADER))
            shapes = parameter_shapes(config, rows)
            body = 4 * sum(map(math.prod, shapes.values()))
            if size != 4 * HEADER + body:
                raise ValueError(
                    f"{path}: got {size:,} bytes, expected "
                    f"{4 * HEADER + body:,} for {config}"
                )
            weights = Tensors(shapes, "<f4")
            file.readinto(memoryview(weights.numbers).cast("B"))
    except OSError as error:
        raise foreign.unreadable(path, error) from None
    return config, weights


def read_header(path: Path, found: bytes) -> tuple[GPTConfig, int]:
    """The config, and how many rows the table has."""
    if len(found) < 4 * HEADER:
        raise ValueError(
            f"{path}: got {len(found)} bytes, expected a header of "
            f"{4 * HEADER}"
        )
    magic, version, length, vocab, layers, heads, width, rows = np.frombuffer(
        found, "<i4"
    )[:8].tolist()
    if magic != MAGIC:
        raise ValueError(f"{path}: magic: got {magic}, expected {MAGIC}")
    if version not in (VERSION, UNPADDED):
        note = ", which is bfloat16" if version == BFLOAT16 else ""
        raise ValueError(
            f"{path}: version: got {version}{note}, expected {VERSION} or "
            f"{UNPADDED}"
        )
    rows = vocab if version == UNPADDED else rows
    try:
        config = GPTConfig(vocab, length, width, layers, heads)
        check_sizes(vocab, padded_vocab_size=rows)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return config, rows
