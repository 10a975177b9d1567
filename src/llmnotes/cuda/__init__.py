"""CUDA kernels without a GPU: launched, traced, read as machine code."""
