"""Adapters for a whole model: put them beside its layers, use, merge.

    path    = where a layer lies in the model, h.0.attn.c_attn
    targets = last words of paths, or ALL_LINEAR: every linear layer but the
              one that scores the vocabulary
    tied    = a weight that two layers share; what is merged into one would
              change the other

Sources
- Hu et al. 2021, "LoRA", arXiv 2106.09685, §4.2 and §7.1 (which weights).
- Dettmers et al. 2023, "QLoRA", arXiv 2305.14314, §4 (all linear layers).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from llmnotes.adaptation.lora.checks import check_names
from llmnotes.adaptation.lora.layers import is_linear
from llmnotes.adaptation.lora.model import NAME, LoRALinear, LowRank

ALL_LINEAR = "all-linear"
HEAD = "lm_head"
SHOWN = 12  # names in a message


def add_lora(
    model: nn.Module,
    rank: int,
    alpha: float,
    targets: str | Sequence[str] = ALL_LINEAR,
    kind: type[LowRank] = LowRank,
    name: str = NAME,
) -> nn.Module:
    """Freeze a model and put an adapter beside each target; returns it.

    A target is the last word, or words, of a path: "c_attn", "attn.c_proj".
    A second call with another name adds a second adapter. What else is to
    be trained, a new head, is unfrozen afterwards.

    Raises `ValueError` for a target that matches nothing, a tied weight, a
    rank that a layer is too small for; the model is not touched then.
    """
    layers = targeted(model, targets)
    check_free(model, layers, name)
    made = {path: kind(bare(x), rank, alpha) for path, x in layers.items()}
    attach(model, made, name)
    return model


def attach(model: nn.Module, made: dict[str, LowRank], name: str) -> None:
    """Freeze all but adapters, and put each beside the layer at its path."""
    for path, adapter in made.items():
        put(model, path, name, adapter)
    kept = {
        p for x in adapted(model).values() for p in x.adapters.parameters()
    }
    for parameter in model.parameters():
        if parameter not in kept:
            parameter.requires_grad_(False)


def put(model: nn.Module, path: str, name: str, adapter: LowRank) -> None:
    """Put an adapter that was made for it beside the layer at a path."""
    layer = model.get_submodule(path)
    if is_adapted(layer):
        layer.add(name, adapter)
    else:
        rank, alpha = adapter.rank, adapter.alpha
        layer = LoRALinear(layer, rank, alpha, lambda *_: adapter, name)
        model.set_submodule(path, layer)


def bare(layer: nn.Module) -> nn.Module:
    """The layer inside, if adapters are beside it already."""
    return layer.base if isinstance(layer, LoRALinear) else layer


def targeted(
    model: nn.Module, targets: str | Sequence[str]
) -> dict[str, nn.Module]:
    """The layers that targets mean, by their paths.

    Raises `ValueError` naming a target that matches no layer, and those
    there are; and for a weight that is shared.
    """
    words, layers = listed(targets), linear_layers(model)
    if words == [ALL_LINEAR]:
        words, scoring = [], heads(model)
        found = {
            path: layer
            for path, layer in layers.items()
            if path.split(".")[-1] != HEAD and bare(layer) not in scoring
        }
    else:
        found = {
            path: layer
            for path, layer in layers.items()
            if any(f".{path}".endswith(f".{word}") for word in words)
        }
    for word in words:
        if not any(f".{path}".endswith(f".{word}") for path in found):
            raise unmatched(word, layers)
    if not found:
        raise unmatched(targets, layers)
    check_own(model, found)
    return found


def listed(targets: str | Sequence[str]) -> list[str]:
    """Targets one by one; `ValueError` for what is no word."""
    several = isinstance(targets, Iterable) and not isinstance(targets, str)
    words = list(targets) if several else [targets]
    if not all(isinstance(word, str) for word in words):
        raise ValueError(
            f"targets: got {targets!r}, expected {ALL_LINEAR!r} or last "
            "words of paths"
        )
    return words


def heads(model: nn.Module) -> set[nn.Module]:
    """The layers that score the vocabulary, as far as a model says so.

    One that shares its weight with an embedding does, and what Hugging
    Face's models hand out.
    """
    tables = {
        id(x.weight) for x in model.modules() if isinstance(x, nn.Embedding)
    }
    found = set()
    for module in model.modules():
        own = dict(module.named_parameters(recurse=False)).get("weight")
        if id(own) in tables:
            found.add(module)
        if hasattr(module, "get_output_embeddings"):
            head = module.get_output_embeddings()  # some have none
            found |= {bare(head)} if head else set()
    return found


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Every linear layer below a model, with adapters or without."""
    found = dict(model.named_modules())
    inside = {f"{p}.base" for p, x in found.items() if is_adapted(x)}
    return {
        path: layer
        for path, layer in found.items()
        if path and path not in inside and could_be(layer)
    }


def could_be(layer: nn.Module) -> bool:
    """Whether adapters are beside this layer, or can be."""
    return is_adapted(layer) or is_linear(layer)


def is_adapted(layer: nn.Module) -> bool:
    """Whether adapters are beside this layer."""
    return isinstance(layer, LoRALinear)


def unmatched(target: object, layers: dict[str, nn.Module]) -> ValueError:
    """The error for a target that no layer is called."""
    names = sorted({path.split(".")[-1] for path in layers})
    rest = len(names) - SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    there = ", ".join(names[:SHOWN]) + more or "no linear layer below it"
    return ValueError(
        f"targets: got {target!r}, which matches no layer, expected last "
        f"words of paths; the model has {there}"
    )


def check_own(model: nn.Module, layers: dict[str, nn.Module]) -> None:
    """Raise `ValueError` for a weight that is another layer's, too."""
    owners: dict[int, list[str]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(p), []).append(name)
    for path, layer in layers.items():
        names = owners.get(id(getattr(bare(layer), "weight", None)), [path])
        if len(names) > 1:
            raise ValueError(
                f"targets: got {path}, whose weight is tied "
                f"({' = '.join(names)}); merging would change both"
            )


def check_free(
    model: nn.Module, layers: dict[str, nn.Module], name: str
) -> None:
    """Raise `ValueError` for a name that is there already, or merged layers.

    One that is merged can only be put back with all others.
    """
    check_apart(x for x in model.modules() if is_adapted(x))
    for path, layer in layers.items():
        if is_adapted(layer) and name in layer.adapters:
            raise ValueError(
                f"name: got {name!r}, which {path} has already, expected "
                "another; use(model, name) chooses"
            )


def check_apart(layers: Iterable[LoRALinear]) -> None:
    """Raise `ValueError` if one of them is merged."""
    for layer in layers:
        layer.check_apart()


def adapted(model: nn.Module) -> dict[str, LoRALinear]:
    """The layers with adapters by their paths; `ValueError` if none."""
    found = {p: x for p, x in model.named_modules() if is_adapted(x)}
    if not found:
        raise ValueError(
            f"model: got {type(model).__name__} without adapters, expected "
            "one after add_lora"
        )
    return found


def use(model: nn.Module, *names: str) -> nn.Module:
    """Choose the adapters that count from now on; without names, none.

    A layer that lacks one of them goes on without it. Raises `ValueError`
    for a name that no layer has.
    """
    layers = adapted(model).values()
    check_names(names, sorted({n for x in layers for n in x.adapters}))
    check_apart(layers)
    for layer in layers:
        layer.use(name for name in names if name in layer.adapters)
    return model


@contextmanager
def using(model: nn.Module, *names: str) -> Iterator[nn.Module]:
    """Choose other adapters for a while; without names, the base alone."""
    before = {layer: layer.active for layer in adapted(model).values()}
    use(model, *names)
    try:
        yield model
    finally:
        for layer, active in before.items():
            layer.use(active)


def merge(model: nn.Module) -> nn.Module:
    """Put the active adapters into the weights; returns the model.

    Raises `ValueError` for a model without adapters, one that is merged
    already, or an adapter with NaN; the weights are as before then.
    """
    layers = adapted(model).values()
    check_apart(layers)
    try:
        for layer in layers:
            layer.merge()
    except BaseException:  # Ctrl-C too must not leave half of it
        for layer in layers:
            if layer.original is not None:
                layer.unmerge()
        raise
    return model


def unmerge(model: nn.Module) -> nn.Module:
    """Put the frozen weights back, bit by bit; returns the model.

    Raises `ValueError` unless all layers are merged; nothing moves then.
    """
    layers = adapted(model).values()
    for layer in layers:
        layer.check_merged()
    for layer in layers:
        layer.unmerge()
    return model


def unload(model: nn.Module) -> nn.Module:
    """Leave the layers alone as they are, merged or not; returns the model.

    What is left has the names and classes it had before `add_lora`.
    """
    for path, layer in adapted(model).items():
        model.set_submodule(path, layer.base)
    return model
