"""Launching and compiling kernels, on a machine that may have no GPU."""

import numpy as np
import pytest
import torch

from llmnotes.cuda import launch
from llmnotes.kernels.flash_attention_cuda import naive


def test_an_executor_gets_the_kernel_the_sizes_and_float32():
    seen = []
    with launch.using(lambda *launched: seen.append(launched)):
        launch.launch("kernel", 3, (4, 5), "tensor", 0.5, True)
    assert seen == [("kernel", 3, (4, 5), "tensor", 0.5, True)]
    assert type(seen[0][4]) is np.float32


def test_an_executor_is_forgotten_after_its_context(monkeypatch):
    monkeypatch.setattr(launch, "missing", lambda: "nothing works")
    with launch.using(print):
        pass
    with pytest.raises(RuntimeError, match="nothing works"):
        launch.launch("kernel", 1, 1)


def test_a_tensor_and_its_array_share_memory():
    tensor = torch.zeros(3, requires_grad=True)
    launch.as_numpy(tensor)[1] = 7
    assert tensor.tolist() == [0, 7, 0]
    assert launch.as_numpy(0.5) == 0.5


def test_a_signature_names_scalars_and_contiguous_arrays():
    from numba import types

    assert launch.parse("f4, b1, f2[::]") == (
        types.float32,
        types.boolean,
        types.Array(types.float16, 2, "C"),
    )


def test_ptx_needs_no_gpu():
    ptx = launch.compile_ptx(naive.naive_softmax, "f4[:::]")
    assert ".target sm_80" in ptx
    assert ".f64" not in ptx


def test_importing_the_package_does_not_import_numbas_cuda_target(
    modules_after,
):
    name = "llmnotes.kernels.flash_attention_cuda.launches"
    found = modules_after(f"import {name}")
    assert name in found and "numba.cuda" not in found
