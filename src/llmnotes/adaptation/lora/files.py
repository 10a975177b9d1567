"""An adapter on disk, in the two files that peft writes and reads.

    adapter_config.json       = rank, alpha, which layers, which kind
    adapter_model.safetensors = A and B of each layer, under
                                base_model.model.<path>.lora_A.weight
    assumed = what our adapters compute, as far as the config can say
              otherwise; what says how training begins is not asked
    sample  = of the adapted weights, some numbers: by them an adapter
              knows its base again, in few bits too

Sources
- `peft` 0.21: `LoraConfig`, `PeftModel.save_pretrained`.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
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
BASE = "llmnotes.base"  # where the sample lies, in the file's own notes
FEW = 8  # numbers of a weight
APART = 0.7  # of their length: between NF4 (0.1) and another base (1.4)
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
        f"{ROOT}{path}.{theirs}": tensor.detach().contiguous()
        for path, layer in layers.items()
        for theirs, tensor in named(layer.adapters[name])
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config, indent=2), "utf-8")
    notes = {"format": "pt", BASE: json.dumps(sample(layers))}
    save_file(tensors, folder / WEIGHTS, metadata=notes)


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
    stable, dora = {k: flags for flags, k in KINDS.items()}[kind]
    turned = {is_transposed(layer.base) for layer in layers.values()}
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": sorted(layers),
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


def sample(layers: dict[str, nn.Module]) -> list[float]:
    """A few numbers of each frozen weight, layer after layer by name."""
    found = []
    for _, layer in sorted(layers.items()):
        base, weight = bare(layer), getattr(layer, "original", None)
        weight = base.weight if weight is None else weight
        weight = weight.T if is_transposed(base) else weight
        flat = weight.detach().flatten().float().cpu()
        found += flat[:: math.ceil(len(flat) / FEW)].tolist()
    return [float(f"{number:.3g}") for number in found]


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
    kind, rank, alpha = read_config(folder / CONFIG)
    path = folder / WEIGHTS
    found, base = read_tensors(path)
    inner = weights.bare(model)
    layers = layers_for(inner, path, found)
    check_own(inner, layers)
    check_free(inner, layers, name)
    made = {
        place: filled(path, kind(bare(x), rank, alpha), place, found[place])
        for place, x in layers.items()
    }
    check_base(path, layers, base)
    attach(inner, made, name)
    return model


def read_config(path: Path) -> tuple[type[LowRank], int, float]:
    """Kind, rank and alpha; `ValueError` lists what ours do not compute."""
    given = foreign.read_json(path)
    wrong = foreign.surprises(given, ASSUMED)
    flags = tuple(bool(given.get(f"use_{x}")) for x in ("rslora", "dora"))
    if flags not in KINDS:
        wrong.append("use_rslora, use_dora: got both, expected one at most")
    for field, kinds in (("r", (int,)), ("lora_alpha", (int, float))):
        got = given.get(field)
        if type(got) not in kinds:
            wrong.append(f"{field}: got {got!r}, expected a number")
    foreign.refuse(path, wrong)
    return KINDS[flags], given["r"], given["lora_alpha"]


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
        found.setdefault(place, {})[ours[f"lora_{what}"]] = tensor
    return found, noted(path)


def noted(path: Path) -> str | None:
    """The sample of the base that a file notes, if it does."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get(BASE)
    except (OSError, SafetensorError) as error:
        raise foreign.unreadable(path, error) from None


def layers_for(model: nn.Module, path: Path, found: dict) -> dict:
    """The model's layers that a file has adapters for."""
    there = linear_layers(model)
    missing = [p for p in found if p not in there]
    if missing or not found:
        raise ValueError(
            f"{path}: got adapters for {foreign.some(missing) or 'nothing'}, "
            "expected linear layers of this model"
        )
    return {p: there[p] for p in found}


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
        if not tensors[name].isfinite().all():
            raise ValueError(
                f"{path}: {place}: got NaN or infinity in {TENSORS[name]}, "
                "expected numbers"
            )
        parameter.data.copy_(tensors[name])
    return adapter


def shown(tensor: Tensor | None) -> str:
    """A shape, for messages."""
    return "nothing" if tensor is None else str(tuple(tensor.shape))


def check_base(path: Path, layers: dict, noted: str | None) -> None:
    """Raise `ValueError` if the adapter remembers another base.

    The same base in other bits has nearly the same numbers.
    """
    if noted is None:
        return
    found = torch.tensor(sample(layers))
    try:
        known = torch.tensor(json.loads(noted)).view(found.shape)
    except (ValueError, TypeError, RuntimeError):
        raise ValueError(
            f"{path}: got {noted[:20]!r} in its notes, expected "
            f"{len(found)} numbers of the base"
        ) from None
    apart = ((found - known).norm() / known.norm()).item()
    if not apart < APART:
        raise ValueError(
            f"{path}: got an adapter of another base: its weights differ by "
            f"{apart:.0%} from those that it was trained beside, expected "
            f"less than {APART:.0%}"
        )
