"""Tests of the CUDA kernels need numba-cuda, which macOS does not have."""

import importlib.util

if importlib.util.find_spec("numba_cuda") is None:
    collect_ignore_glob = ["test_*.py"]
