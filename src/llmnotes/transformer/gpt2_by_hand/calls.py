"""The whole training step as a list: each call, what it reads and writes.

    place      = a tensor, or one layer of it: At("qkv", 3)
    dX         = the gradient of the loss by X, for any tensor X
    reads      = places that a call looks at; a number such as V is one too
    writes     = places that it changes; a gradient is added to, so it is read
                 as well, and the order of two that add to it matters to the
                 last bit
    kernels    = whatever has functions of these names: a module, an object

A kernel takes its arrays in llm.c's order, what it writes first.

Sources
- Karpathy 2024, llm.c: train_gpt2.c, `gpt2_forward`, `gpt2_backward` and
  `gpt2_update`.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from llmnotes.transformer.gpt2_by_hand.layout import TOP

HYPERPARAMETERS = "lr", "beta1", "beta2", "eps", "weight_decay", "t"
MOMENTS = "m.", "v."  # what the optimizer keeps for each parameter


class At(NamedTuple):
    """A tensor by its name, and which of its layers; None: all of it."""

    name: str
    layer: int | None = None

    def __str__(self):
        return (
            self.name if self.layer is None else f"{self.name}[{self.layer}]"
        )


class Call(NamedTuple):
    """One call of a kernel; `layer` is None outside of the layers."""

    name: str
    layer: int | None
    reads: tuple[At | None, ...]  # None where there is no bias,
    writes: tuple[At | None, ...]  # and so no gradient of it

    @property
    def arguments(self) -> tuple[At | None, ...]:
        """What the kernel is called with, in its order."""
        if self.name != "adamw":
            return self.writes + self.reads
        parameters, *moments = self.writes
        return (parameters, self.reads[0], *moments, *self.reads[1:])


def call(name: str, layer: int | None, writes: str, reads: str) -> Call:
    """A call from words: a name of a layer's own, another's as residual3@2.

    A bar, as in `lnf|`, says that no layer owns the tensor; `-` is None.
    """

    def place(word: str) -> At | None:
        plain, at, other = word.partition("@")
        if word == "-":
            return None
        if word.endswith("|"):
            return At(word[:-1])
        return At(plain, int(other) if at else layer)

    made = (tuple(map(place, text.split())) for text in (reads, writes))
    return Call(name, layer, *made)


def entering(layer: int) -> str:
    """What a layer reads: the embedding, or what the layer below wrote."""
    return f"residual3@{layer - 1}" if layer else "encoded|"


def forward(layers: int) -> list[Call]:
    """From tokens to the loss of each token: 4 + 10·layers + 1 calls."""
    calls = [call("encoder_forward", None, "encoded", "inputs wte wpe")]
    for layer in range(layers):
        calls += layer_forward(layer)
    last = entering(layers)
    return [
        *calls,
        call("layernorm_forward", None, "lnf lnf_mean lnf_rstd",
             f"{last} lnfw lnfb"),
        call("matmul_forward", None, "logits", "lnf wte -"),
        call("softmax_forward", None, "probs", "logits V"),
        call("crossentropy_forward", None, "losses", "probs targets"),
    ]  # fmt: skip


@functools.cache
def layer_forward(layer: int) -> tuple[Call, ...]:
    """Normalise, attend, add; normalise, widen, bend, narrow, add."""
    above = entering(layer)
    return tuple(
        call(f"{name}_forward", layer, writes, reads)
        for name, writes, reads in (
            ("layernorm", "ln1 ln1_mean ln1_rstd", f"{above} ln1w ln1b"),
            ("matmul", "qkv", "ln1 qkvw qkvb"),
            ("attention", "atty preatt att", "qkv"),
            ("matmul", "attproj", "atty attprojw attprojb"),
            ("residual", "residual2", f"{above} attproj"),
            ("layernorm", "ln2 ln2_mean ln2_rstd", "residual2 ln2w ln2b"),
            ("matmul", "fch", "ln2 fcw fcb"),
            ("gelu", "fch_gelu", "fch"),
            ("matmul", "fcproj", "fch_gelu fcprojw fcprojb"),
            ("residual", "residual3", "residual2 fcproj"),
        )
    )


def backward(layers: int) -> list[Call]:
    """From the loss to the gradient of every parameter.

    `dlosses` must hold 1/(B·T), every other gradient zero.
    """
    last = entering(layers)
    calls = [
        call("crossentropy_softmax_backward", None, "dlogits",
             "dlosses probs targets V"),
        call("matmul_backward", None, "dlnf dwte -", "dlogits lnf wte"),
        call("layernorm_backward", None, f"d{last} dlnfw dlnfb",
             f"dlnf {last} lnfw lnf_mean lnf_rstd"),
    ]  # fmt: skip
    for layer in reversed(range(layers)):
        calls += layer_backward(layer)
    return [
        *calls,
        call("encoder_backward", None, "dwte dwpe", "dencoded inputs"),
    ]


@functools.cache
def layer_backward(layer: int) -> tuple[Call, ...]:
    """`layer_forward`, read from the bottom up."""
    above = entering(layer)
    return tuple(
        call(f"{name}_backward", layer, writes, reads)
        for name, writes, reads in (
            ("residual", "dresidual2 dfcproj", "dresidual3"),
            ("matmul", "dfch_gelu dfcprojw dfcprojb",
             "dfcproj fch_gelu fcprojw"),
            ("gelu", "dfch", "fch dfch_gelu"),
            ("matmul", "dln2 dfcw dfcb", "dfch ln2 fcw"),
            ("layernorm", "dresidual2 dln2w dln2b",
             "dln2 residual2 ln2w ln2_mean ln2_rstd"),
            ("residual", f"d{above} dattproj", "dresidual2"),
            ("matmul", "datty dattprojw dattprojb",
             "dattproj atty attprojw"),
            ("attention", "dqkv dpreatt datt", "datty qkv att"),
            ("matmul", "dln1 dqkvw dqkvb", "dqkv ln1 qkvw"),
            ("layernorm", f"d{above} dln1w dln1b",
             f"dln1 {above} ln1w ln1_mean ln1_rstd"),
        )
    )  # fmt: skip


def update() -> list[Call]:
    """One pass over all parameters, as they lie."""
    return [
        call(
            "adamw", None, "params m v", " ".join(["grads", *HYPERPARAMETERS])
        )
    ]


def update_of(name: str, layer: int | None = None) -> Call:
    """The same for one tensor, or for one layer of it.

    Each number moves by itself, so in pieces the outcome has the same bits.
    """
    if (layer is None) != (name in TOP):
        raise ValueError(
            f"layer: got {layer} for {name}, expected "
            + ("None" if name in TOP else "the number of a layer")
        )
    numbers = " ".join(f"{word}|" for word in HYPERPARAMETERS)
    writes = " ".join([name, *(moment + name for moment in MOMENTS)])
    return call("adamw", layer, writes, f"d{name} {numbers}")


def run(calls: Iterable[Call], kernels, tensors: Mapping[str, Any]) -> None:
    """Execute calls in order with the functions of `kernels`.

    `tensors` holds an array, or a number, under every name.
    """
    for one in calls:
        kernel = getattr(kernels, one.name)
        kernel(*(find(tensors, place) for place in one.arguments))


def find(tensors: Mapping[str, Any], place: At | None) -> Any:
    """The array at a place: a view of one layer, or the whole tensor."""
    if place is None:
        return None
    found = tensors[place.name]
    return found if place.layer is None else found[place.layer]
