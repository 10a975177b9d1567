"""A linear layer that is frozen in 4 bits, and takes adapters beside it.

    weight = what its codes stand for, made when it is asked for and not kept
    way back = needs the weight again, and makes it again

Sources
- Dettmers et al. 2023, "QLoRA", arXiv 2305.14314, §3, equations (5) and (6).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.adaptation.lora.attach import ALL_LINEAR, is_adapted, targeted
from llmnotes.adaptation.lora.layers import matrix
from llmnotes.adaptation.qlora.double import DoubleNF4


class Product(torch.autograd.Function):
    """xWᵀ, which keeps codes for the way back and not the weight.

    PyTorch's own product would keep the weight that was made for it until
    then: of all layers together that is the model in 16 or 32 bits.
    """

    @staticmethod
    def forward(ctx, x: Tensor, layer: "NF4Linear") -> Tensor:
        """Return xWᵀ in the dtype of x."""
        ctx.layer, ctx.dtype = layer, x.dtype
        return F.linear(x, layer.weight.to(x.dtype))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of x; the layer is frozen."""
        weight = ctx.layer.weight.to(gradient.dtype)
        return (gradient @ weight).to(ctx.dtype), None


class NF4Linear(nn.Module):
    """xWᵀ + b with W in NF4, its scales quantized too.

    Made from an nn.Linear or GPT-2's Conv1D, which are not touched. Its
    scales lie in buffers of whole numbers, so that `model.half()` leaves
    them alone.

    Raises `ValueError` for a weight with NaN, or whose numbers are no whole
    number of blocks of 64.
    """

    def __init__(self, layer: nn.Module):
        super().__init__()
        found = DoubleNF4.encode(matrix(layer).contiguous())
        self.out_features, self.in_features = found.shape
        self.register_buffer("packed", found.packed)
        self.register_buffer("scale_codes", found.scale_codes)
        self.register_buffer("largest", found.largest.view(torch.int32))
        self.register_buffer("mean", found.mean.view(torch.int32))
        bias = getattr(layer, "bias", None)
        self.bias = None if bias is None else frozen(bias)
        self.train(layer.training)

    @property
    def quantized(self) -> DoubleNF4:
        """The weight as codes and scales."""
        floats = (x.view(torch.float32) for x in (self.largest, self.mean))
        shape = torch.Size((self.out_features, self.in_features))
        return DoubleNF4(
            shape, torch.float32, self.packed, self.scale_codes, *floats
        )

    @property
    def weight(self) -> Float[Tensor, "output input"]:
        """What the codes stand for, float32; a new tensor each time."""
        return self.quantized.dequantize()

    def forward(
        self, x: Float[Tensor, "... input"]
    ) -> Float[Tensor, "... output"]:
        """Return xWᵀ + b in the dtype of x."""
        out = Product.apply(x, self)
        return out if self.bias is None else out + self.bias.to(out.dtype)


def frozen(bias: Tensor) -> nn.Parameter:
    """A copy that is not trained."""
    return nn.Parameter(bias.detach().clone(), requires_grad=False)


def to_nf4(
    model: nn.Module, targets: str | Sequence[str] = ALL_LINEAR
) -> nn.Module:
    """Freeze a model's linear layers in NF4, in place; returns the model.

    `targets` as in `add_lora`, which comes afterwards. One layer after the
    other is replaced, so that the whole is never there twice.

    Raises `ValueError` for targets that match nothing, for layers that have
    adapters already and for a weight that cannot be quantized; the model is
    not touched then.
    """
    layers = targeted(model, targets)
    for path, layer in layers.items():
        check(path, layer)
    for path in list(layers):
        model.set_submodule(path, NF4Linear(layers.pop(path)))
    return model


def check(path: str, layer: nn.Module) -> None:
    """Raise `ValueError` for a layer that cannot be quantized."""
    if is_adapted(layer) or isinstance(layer, NF4Linear):
        kind = type(layer).__name__
        raise ValueError(f"model: {path} is {kind}, expected a plain layer")
    if layer.weight.numel() % 64:
        raise ValueError(
            f"model: {path} has {layer.weight.numel()} weights, expected a "
            "multiple of 64, the size of a block"
        )
    if not layer.weight.isfinite().all():
        raise ValueError(
            f"model: {path} has NaN or infinity, expected finite weights"
        )
