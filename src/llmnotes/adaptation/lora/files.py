"""An adapter on disk, in the two files that peft writes and reads.

    adapter_config.json       = rank, alpha, which layers, which kind
    adapter_model.safetensors = A and B of each layer, under
                                base_model.model.<path>.lora_A.weight
    assumed = what our adapters compute, as far as the config can say
              otherwise

Sources
- `peft` 0.21: `LoraConfig`, `PeftModel.save_pretrained`.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from llmnotes import foreign, weights
from llmnotes.adaptation.lora.attach import (
    adapted,
    attach,
    bare,
    check_free,
    check_own,
    linear_layers,
)
from llmnotes.adaptation.lora.bases import (
    BASE,
    check_base,
    noted,
    plain,
    sample,
)
from llmnotes.adaptation.lora.layers import is_transposed
from llmnotes.adaptation.lora.model import (
    NAME,
    DoRA,
    LoRALinear,
    LowRank,
    RankStabilised,
)

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ROOT = "base_model.model."
TENSORS = {
    "A": "lora_A.weight",
    "B": "lora_B.weight",
    "m": "lora_magnitude_vector",
}
ASSUMED = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "lora_bias": (False,),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "layer_replication": (None,),
    "target_parameters": (None, []),
    "trainable_token_indices": (None,),
    "use_qalora": (False,),
    "use_bdlora": (None, False),
    "alora_invocation_tokens": (None,),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
    "velora_config": (None,),
    # Other ways to begin take something off the base: pissa, olora, corda, …
    "init_lora_weights": (
        True,
        False,
        "gaussian",
        "orthogonal",
        "mica",
        "eva",
    ),
}
KINDS = {  # (use_rslora, use_dora) -> class
    (False, False): LowRank,
    (True, False): RankStabilised,
    (False, True): DoRA,
}


def save_adapter(
    model: nn.Module, folder: str | Path, name: str = NAME
) -> None:
    """Write one adapter of a model, without the model.

    Raises `ValueError` for a model without an adapter of that name, or one
    whose layers differ in rank, alpha or kind.
    """
    all_layers = adapted(weights.bare(model))
    layers = {p: x for p, x in all_layers.items() if name in x.adapters}
    if not layers:
        known = {n for x in all_layers.values() for n in x.adapters}
        raise ValueError(
            f"name: got {name!r}, expected one of {', '.join(sorted(known))}"
        )
    config = described(layers, name)
    tensors = {
        f"{ROOT}{plain(path)}.{theirs}": x.detach().contiguous()
        for path, layer in layers.items()
        for theirs, x in named(layer.adapters[name])
    }
    notes = {"format": "pt", BASE: json.dumps(sample(layers))}
    write(Path(folder), config, tensors, notes)


def write(folder: Path, config: dict, tensors: dict, notes: dict) -> None:
    """Write both files or none of them."""
    check_home(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: folder / f"{name}.part" for name in (CONFIG, WEIGHTS)}
    try:
        parts[CONFIG].write_text(json.dumps(config, indent=2), "utf-8")
        save_file(tensors, parts[WEIGHTS], metadata=notes)
        for name, part in parts.items():
            os.replace(part, folder / name)
    except SafetensorError as error:
        raise OSError(f"{folder}: cannot be written: {error}") from None
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def check_home(folder: Path) -> None:
    """Raise `ValueError` if something that is no file has a file's name."""
    for path in (folder / CONFIG, folder / WEIGHTS):
        if path.exists() and not path.is_file():
            raise ValueError(
                f"{path}: is no file, expected one that can be replaced"
            )


def described(layers: dict[str, LoRALinear], name: str) -> dict:
    """What adapter_config.json says of an adapter."""
    found = [layer.adapters[name] for layer in layers.values()]
    kinds = {(type(a), a.rank, a.alpha) for a in found}
    if len(kinds) > 1:
        raise ValueError(
            f"model: got adapters of {len(kinds)} kinds, ranks or alphas, "
            "expected one, which is all that the file can say"
        )
    ((kind, rank, alpha),) = kinds
    if kind not in KINDS.values():
        raise ValueError(
            f"model: got an adapter of kind {kind.__name__}, expected one of "
            f"{', '.join(k.__name__ for k in KINDS.values())}"
        )
    stable, dora = {k: flags for flags, k in KINDS.items()}[kind]
    turned = {is_transposed(layer.base) for layer in layers.values()}
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": sorted(map(plain, layers)),
        "bias": "none",
        "fan_in_fan_out": turned == {True},
        "use_rslora": stable,
        "use_dora": dora,
        "inference_mode": True,
        "task_type": None,
        "base_model_name_or_path": None,
    }


def named(adapter: LowRank) -> Iterator[tuple[str, Tensor]]:
    """The parameters of an adapter under peft's names."""
    for ours, tensor in adapter.named_parameters():
        yield TENSORS[ours], tensor


def load_adapter(
    model: nn.Module, folder: str | Path, name: str = NAME
) -> nn.Module:
    """Put the adapter that lies in a folder beside a model; returns it.

    The model is frozen, and the adapter is the active one. All is checked
    first. Raises `ValueError` naming the file and what does not fit: a kind
    that ours do not compute, layers that the model has not, another shape,
    numbers that are none, another base than the one it was trained on.
    """
    folder = Path(folder)
    path = folder / WEIGHTS
    config = read_config(folder / CONFIG)
    found, base = read_tensors(path)
    inner = weights.bare(model)
    layers = layers_for(inner, path, found)
    check_own(inner, layers)
    check_free(inner, layers, name)
    made = {
        place: filled(
            path, empty(folder, x, *config), plain(place), found[plain(place)]
        )
        for place, x in layers.items()
    }
    check_base(path, layers, base)
    attach(inner, made, name)
    return model


def empty(
    folder: Path, layer: nn.Module, kind: type[LowRank], rank: int, alpha
) -> LowRank:
    """An adapter for a layer, as the config says."""
    try:
        return kind(bare(layer), rank, alpha)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None


def read_config(path: Path) -> tuple[type[LowRank], int, float]:
    """Kind, rank and alpha; `ValueError` lists what ours do not compute."""
    given = foreign.read_json(path)
    wrong = foreign.surprises(given, ASSUMED)
    flags = []
    for field in ("use_rslora", "use_dora"):
        flags.append(bool(given.get(field)))
        if given.get(field) not in (True, False, None):
            got = given[field]
            wrong.append(f"{field}: got {got!r}, expected true or false")
    if all(flags):
        wrong.append("use_rslora, use_dora: got both, expected one at most")
    for field, kinds in (("r", (int,)), ("lora_alpha", (int, float))):
        got = given.get(field)
        if type(got) not in kinds:
            wrong.append(f"{field}: got {got!r}, expected a number")
    foreign.refuse(path, wrong)
    return KINDS[tuple(flags)], given["r"], given["lora_alpha"]


def read_tensors(path: Path) -> tuple[dict[str, dict], str | None]:
    """{path of a layer: {A, B, m}}, and the sample of their base."""
    flat = foreign.read_tensors(path)
    ours = {theirs: name for name, theirs in TENSORS.items()}
    found: dict[str, dict] = {}
    for name, tensor in flat.items():
        place, _, what = name.removeprefix(ROOT).rpartition(".lora_")
        if f"lora_{what}" not in ours or not name.startswith(ROOT):
            raise ValueError(
                f"{path}: got a tensor {name}, expected {ROOT}<layer>. and "
                f"one of {', '.join(ours)}"
            )
        place = plain(place)
        found.setdefault(place, {})[ours[f"lora_{what}"]] = tensor
    return found, noted(path)


def layers_for(model: nn.Module, path: Path, found: dict) -> dict:
    """The model's layers that a file has adapters for."""
    there = {plain(p): p for p in linear_layers(model)}
    missing = [p for p in found if p not in there]
    if missing or not found:
        raise ValueError(
            f"{path}: got adapters for {foreign.some(missing) or 'nothing'}, "
            "expected linear layers of this model"
        )
    return {there[p]: model.get_submodule(there[p]) for p in found}


def filled(
    path: Path, adapter: LowRank, place: str, tensors: dict[str, Tensor]
) -> LowRank:
    """An adapter with the numbers of a file."""
    own = dict(adapter.named_parameters())
    wrong = [
        f"{place}: got {TENSORS[n]} of shape {shown(tensors.get(n))}, "
        f"expected {shown(own.get(n))}"
        for n in sorted(own.keys() | tensors.keys())
        if shown(own.get(n)) != shown(tensors.get(n))
    ]
    foreign.refuse(path, wrong)
    for name, parameter in own.items():
        given = tensors[name]
        if not given.is_floating_point():
            raise ValueError(
                f"{path}: {place}: got {given.dtype} in {TENSORS[name]}, "
                "expected floats"
            )
        given = given.to(parameter.dtype)  # 1e300 is infinite in float32
        if not given.isfinite().all():
            raise ValueError(
                f"{path}: {place}: got NaN or infinity in {TENSORS[name]}, "
                "expected numbers"
            )
        parameter.data.copy_(given)
    return adapter


def shown(tensor: Tensor | None) -> str:
    """A shape, for messages."""
    return "nothing" if tensor is None else str(tuple(tensor.shape))
