"""The one place where kernels are launched and compiled.

A kernel is a function decorated with `kernel`; the functions it calls are
decorated with `device`. `launch(kernel, grid, block, *arguments)` hands it
to an executor: the GPU, numba's simulator, or any callable of the same form
set by `using`. Numba's CUDA target is imported only when it is needed, so
that a machine without it can import everything else.
"""

import contextlib
import contextvars
import functools
import importlib.util
import inspect
import os

import numpy as np
import torch

INSTALL = 'pip install "llmnotes[cuda]"'


def kernel(function):
    """Decorator: a function that `launch` runs on every thread of a grid.

    Type checkers that wrap functions under test are taken off again: numba
    compiles the function itself.
    """
    from numba import cuda

    return cuda.jit(inspect.unwrap(function))


def device(function):
    """Decorator: a function that kernels call.

    Inlined by numba itself, so that compiling needs no GPU to choose an
    architecture for it.
    """
    from numba import cuda

    return cuda.jit(device=True, inline="always")(inspect.unwrap(function))


def simulated() -> bool:
    """Whether numba runs kernels as Python threads instead of on a GPU."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


def missing() -> str | None:
    """Say what this machine lacks to run a kernel, or None."""
    if importlib.util.find_spec("numba_cuda") is None:
        return f"numba-cuda is not installed; install it with {INSTALL}"
    if simulated():
        return None
    if not torch.cuda.is_available():
        return (
            "torch finds no CUDA device; on a machine with an NVIDIA GPU "
            f"install a CUDA build of torch and {INSTALL}, without one set "
            "NUMBA_ENABLE_CUDASIM=1 before Python starts to run the kernels "
            "in numba's simulator"
        )
    return None


def require() -> None:
    """Raise `RuntimeError` where no kernel can run, saying what to do."""
    reason = missing()
    if reason:
        raise RuntimeError(f"cannot launch a CUDA kernel: {reason}")


def on_gpu(kernel, grid, block, *arguments) -> None:
    """Run on the GPU that holds the tensors, on torch's current stream."""
    from numba import cuda

    device = next(a.device for a in arguments if torch.is_tensor(a))
    with cuda.gpus[device.index], torch.cuda.device(device):
        stream = torch.cuda.current_stream(device).cuda_stream
        stream = cuda.external_stream(stream) if stream else 0
        arguments = [
            # Zero copy: numba reads the tensor's address and strides.
            cuda.as_cuda_array(a.detach()) if torch.is_tensor(a) else a
            for a in arguments
        ]
        kernel[grid, block, stream](*arguments)


def in_simulator(kernel, grid, block, *arguments) -> None:
    """Run as Python threads; tensors share their memory with numpy."""
    kernel[grid, block](*(as_numpy(a) for a in arguments))


def as_numpy(argument):
    """A CPU tensor's memory as an array; anything else unchanged."""
    if torch.is_tensor(argument):
        return argument.detach().numpy()
    return argument


_executor = contextvars.ContextVar("executor", default=None)


@contextlib.contextmanager
def using(executor):
    """Within this context every launch goes to `executor`."""
    token = _executor.set(executor)
    try:
        yield executor
    finally:
        _executor.reset(token)


def launch(kernel, grid, block, *arguments) -> None:
    """Run `kernel` on grid × block threads; tensors are passed in place.

    Floats become float32, since a Python float would turn the kernel's
    arithmetic into float64. Raises `RuntimeError` where nothing can run it.
    """
    executor = _executor.get()
    if executor is None:
        require()
        executor = in_simulator if simulated() else on_gpu
    arguments = [
        np.float32(a) if isinstance(a, float) else a for a in arguments
    ]
    executor(kernel, grid, block, *arguments)


@functools.cache
def compile_ptx(kernel, signature: str, capability=(8, 0)) -> str:
    """PTX of a kernel for argument types such as "f2[:,:,::1], f4, b1".

    PTX is portable: what is compiled for 8.0 links to any later GPU. Needs
    the compiler's wheels, but no GPU and no driver.
    """
    from numba import cuda

    ptx, _ = cuda.compile_ptx(
        kernel.py_func, parse(signature), cc=capability, lineinfo=True
    )
    return ptx if isinstance(ptx, str) else ptx.decode()


def parse(signature: str) -> tuple:
    """Numba types from a comma-separated list of short names.

    f2, f4, b1 are float16, float32, bool; each ":" is an axis of a
    contiguous array, as in "f4[::]" for a matrix.
    """
    from numba import types

    scalars = {"f2": types.float16, "f4": types.float32, "b1": types.boolean}

    def one(name):
        scalar, _, axes = name.strip().partition("[")
        if not axes:
            return scalars[scalar]
        return types.Array(scalars[scalar], axes.count(":"), "C")

    return tuple(one(name) for name in signature.split(","))
