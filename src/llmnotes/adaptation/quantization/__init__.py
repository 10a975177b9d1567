"""Weights in few bits: number formats, files, fast products."""

from llmnotes.adaptation.quantization.ggml import FORMATS, Ggml
from llmnotes.adaptation.quantization.kinds import KINDS, quantize
from llmnotes.adaptation.quantization.nf4 import NF4, book, equation_4
from llmnotes.adaptation.quantization.packing import pack, unpack
from llmnotes.adaptation.quantization.products import (
    Float32,
    Int4Groups,
    Int4Rows,
    Int8Rows,
)
from llmnotes.adaptation.quantization.quantized import Quantized
from llmnotes.adaptation.quantization.saved import load as load_gguf
from llmnotes.adaptation.quantization.saved import save as save_gguf
from llmnotes.adaptation.quantization.uniform import (
    Absmax,
    ZeroPoint,
    absmax,
    grouped,
    zero_point,
)
