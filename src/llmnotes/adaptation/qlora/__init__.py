"""QLoRA: adapters beside weights of four bits."""

from llmnotes.adaptation.qlora.double import (
    DoubleNF4,
    bits_per_weight,
    decode_scales,
    encode_scales,
)
from llmnotes.adaptation.qlora.layer import NF4Linear, to_nf4
from llmnotes.adaptation.qlora.merging import (
    into_dequantized,
    into_original,
    merge_by,
    original_quantized,
    requantized,
)
from llmnotes.adaptation.qlora.paged import PagedAdamW, Pages
