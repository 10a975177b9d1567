"""How long a matrix of 4096² weights times one vector takes, by its bits."""

import statistics

import jaxtyping
import pytest
import torch

from llmnotes.adaptation.quantization import (
    Float32,
    Int4Groups,
    Int4Rows,
    Int8Rows,
    quantize,
)

SEED, THREADS, SIZE = 0, 1, 4096
BASE = "float32, numba"
MEGA, GIGA = 1e6, 1e9


@pytest.fixture(autouse=True)
def fair_ground():
    """One thread for everybody, and no shape checks inside the timings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
    torch.set_num_threads(threads)


class Theirs:
    """One of torch's own products of packed weights, in bfloat16."""

    def __init__(self, multiply, weight, *rest):
        self.multiply, self.parts = multiply, (weight, *rest)
        self.nbytes = sum(
            part.nbytes for part in self.parts if torch.is_tensor(part)
        )

    def __call__(self, x):
        return self.multiply(x[None].bfloat16(), *self.parts)[0]


class Unpacked:
    """The weight is made float32 for every product, then multiplied."""

    def __init__(self, weight):
        self.weight, self.nbytes = weight, weight.nbytes

    def __call__(self, x):
        return torch.mv(self.weight.dequantize(), x)


class Plain:
    """torch's float32."""

    def __init__(self, weight):
        self.weight, self.nbytes = weight, weight.nbytes

    def __call__(self, x):
        return torch.mv(self.weight, x)


def torch_int8(weight):
    codes = weight.codes.reshape(weight.shape).contiguous()
    scale = weight.scale[:, 0].bfloat16()
    return Theirs(torch.ops.aten._weight_int8pack_mm, codes, scale)


def torch_int4(weight):
    codes = weight.codes.reshape(weight.shape).int() + 8
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    scale = weight.scale.reshape(len(codes), -1).T
    both = torch.stack([scale, torch.zeros_like(scale)], -1).bfloat16()
    multiply = torch.ops.aten._weight_int4pack_mm_for_cpu
    return Theirs(multiply, packed, 64, both.contiguous())


def ways(weight):
    """{who: (what multiplies, the weight it stands for)}."""
    eight, rows = quantize(weight, "int8"), quantize(weight, "int4", "channel")
    groups, normal = quantize(weight, "int4", 64), quantize(weight, "nf4")
    return {
        "float32, torch": (Plain(weight), weight),
        BASE: (Float32(weight), weight),
        "8 bits": (Int8Rows(eight), eight.dequantize()),
        "4 bits, a scale a row": (Int4Rows(rows), rows.dequantize()),
        "4 bits, a scale for 64": (Int4Groups(groups), groups.dequantize()),
        "8 bits, torch": (torch_int8(eight), eight.dequantize()),
        "4 bits, torch": (torch_int4(groups), groups.dequantize()),
        "NF4, unpacked each time": (Unpacked(normal), normal.dequantize()),
    }


def miss(product, weight, x):
    """How far a product is from the exact one of the same weights."""
    exact = weight.double() @ x.double()
    return ((product(x) - exact).norm() / exact.norm()).item()


@pytest.mark.timing
def bench_one_matrix_and_one_vector(record, race):
    torch.manual_seed(SEED)
    found, x = ways(torch.randn(SIZE, SIZE)), torch.randn(SIZE)
    off = {name: miss(*way, x) for name, way in found.items()}
    assert max(off.values()) < 0.01, off

    def go(product):
        return lambda: product(x)

    contestants = {name: go(product) for name, (product, _) in found.items()}
    times = {
        name: statistics.median(seconds)
        for name, seconds in race(contestants, rounds=15, slice_s=0.1).items()
    }
    record(
        "gemv",
        kind="timing",
        seed=SEED,
        title="A matrix of 4,096 x 4,096 times one vector, one thread",
        prediction=(
            "8 bits 3.3 times as quick as numba's float32: a quarter of the "
            "bytes, less what unpacking costs. 4 bits 4 times, with a scale "
            "for 64 weights as with one a row: their 8 MB fit into a cache, "
            "and unpacking is the limit. torch's float32 as numba's, its "
            "products of packed weights behind ours. Unpacking all weights "
            "first is slower than float32."
        ),
        columns={
            "way": "", "seconds": "s", "ratio": "", "size": "MB",
            "read": "GB/s", "error": "",
        },
        labels={
            "way": "weights",
            "ratio": "times as quick as numba's float32",
            "read": "weights read",
            "error": "relative error beside the same weights in float64",
        },
        rows=[
            (
                name, spent, times[BASE] / spent,
                found[name][0].nbytes / MEGA,
                found[name][0].nbytes / spent / GIGA, off[name],
            )
            for name, spent in times.items()
        ],
    )  # fmt: skip
