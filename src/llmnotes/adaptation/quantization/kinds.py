"""Every way to quantize a weight, by name.

    KINDS = {name: the class whose `encode` quantizes a weight}

One more way is one more class, and one more entry.
"""

from jaxtyping import Float
from torch import Tensor

from llmnotes.adaptation.quantization import ggml, nf4, uniform
from llmnotes.adaptation.quantization.quantized import Quantized
from llmnotes.checks import checked

KINDS: dict[str, type[Quantized]] = {
    "int8": uniform.Int8,
    "int4": uniform.Int4,
    "int3": uniform.Int3,
    "int2": uniform.Int2,
    "uint8": uniform.UInt8,
    "uint4": uniform.UInt4,
    "uint3": uniform.UInt3,
    "uint2": uniform.UInt2,
    "nf4": nf4.NF4,
    **{kind.name(): kind for kind in ggml.FORMATS},
}


@checked
def quantize(
    weight: Float[Tensor, "*shape"],
    kind: str,
    group: int | str | None = None,
) -> Quantized:
    """Return a weight in few bits: an object with `dequantize()`, `nbytes`.

    `group` says which weights share a scale; without it, it is that of the
    kind. The last axis is that of the inputs; the weight is not touched.

    Raises `ValueError` for an unknown kind, a group that does not divide or
    is not the kind's only one, and weights that are not finite.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(
            f"kind: got {kind!r}, expected one of {', '.join(KINDS)}"
        )
    return KINDS[kind].encode(weight, group)
