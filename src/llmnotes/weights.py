"""The weights of a model as files hold them: by name, each once.

wrapper = what torch.compile and DataParallel put around a model; their
          names for a weight begin with _orig_mod. and module.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin


def plain_name(name: str) -> str:
    """A weight's name without what torch.compile writes before it."""
    return name.replace("_orig_mod.", "")


def bare(model: nn.Module) -> nn.Module:
    """The model inside what torch.compile and DataParallel put around it."""
    wrappers = nn.DataParallel, nn.parallel.DistributedDataParallel
    while True:
        if isinstance(model, wrappers):
            model = model.module
        elif "_orig_mod" in model._modules:
            model = model._orig_mod
        else:
            return model


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict; a tied weight only once, under its first name.

    Raises `ValueError` for what a file of tensors cannot hold, or `load`
    could not put back.
    """
    own = dict(model.named_parameters(remove_duplicate=False))
    own |= model.named_buffers(remove_duplicate=False)
    unique = {}
    for name, tensor in model.state_dict().items():
        check_plain(name, tensor, name in own)
        place = tensor.data_ptr() or name  # empty tensors have no place
        place = place, tensor.shape, tensor.stride(), tensor.dtype
        unique.setdefault(place, (plain_name(name), tensor))
    return dict(unique.values())


def check_plain(name: str, x: object, own: bool) -> None:
    """Raise `ValueError` unless this is a plain weight or buffer."""
    if not own:
        got = f"a {type(x).__name__} of the model's extra state"
    elif isinstance(x, UninitializedTensorMixin):
        got = "a weight that has no shape yet"
    elif x.is_meta or x.is_quantized or x.layout != torch.strided:
        got = f"a tensor on {x.device} of layout {x.layout} and {x.dtype}"
    elif 0 in x.stride() and x.numel() > 1:
        got = "an expanded tensor, whose numbers lie in one place"
    else:
        return
    raise ValueError(f"{name}: got {got}, expected a plain weight or buffer")


def apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that lie in memory in a row, each in a place of its own.

    So the file format wants them. Views of one storage are copied.
    """
    found, seen = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        storage = tensor.untyped_storage()
        if storage.nbytes() > tensor.nbytes or storage.data_ptr() in seen:
            tensor = tensor.clone()
        seen.add(storage.data_ptr())
        found[name] = tensor
    return found


def check_same(
    home: Path,
    known: dict[str, Tensor],
    new: dict[str, Tensor],
    *,
    to_the_bit: bool,
) -> None:
    """Raise `ValueError` unless names and shapes are those of the model.

    Where a run goes on, types must be the same too.
    """
    for name in sorted(known.keys() | new.keys()):
        got = tuple(new[name].shape) if name in new else "nothing"
        want = tuple(known[name].shape) if name in known else "nothing"
        if got != want:
            raise ValueError(
                f"{home}: got weights of another model: {name} is {got}, "
                f"expected {want}"
            )
        if to_the_bit and new[name].dtype != known[name].dtype:
            raise ValueError(
                f"{home}: {name} is {new[name].dtype}, expected "
                f"{known[name].dtype}, the type of the model that goes on"
            )
