"""A sharded optimizer's state, made whole and cut again on any ranks.

    state   = {weight: {moment: tensor}}, as PyTorch keeps it, but by name
    moments = tensors of a weight's shape; others, such as Adam's count of
              steps, are one for the whole weight

A shard means nothing on another number of ranks, since the cuts fall
elsewhere; a whole weight's moments do.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from llmnotes.parallel.zero.flat import all_gather


def gathered(optimizer) -> dict[str, dict[str, Any]]:
    """All moments of all weights, on every rank."""
    found: dict[str, dict[str, Any]] = {}
    for unit in optimizer.units:
        single, dtypes = told(optimizer, unit)
        for name, values in single.items():
            found.setdefault(name, {}).update(values)
        for moment, (dtype, names) in dtypes.items():
            whole = collected(optimizer, unit, moment, dtype)
            for name in names:
                found.setdefault(name, {})[moment] = whole[name]
    return {n: found[n] for n in optimizer.trained if n in found}


def told(optimizer, unit) -> tuple[dict, dict]:
    """What each rank has: single values, and moments with their dtypes."""
    single, dtypes = {}, {}
    for piece, held in states(optimizer, unit):
        for moment, x in held.items():
            if per_number(moment, x):
                kind = dtypes.setdefault(moment, (x.dtype, []))
                kind[1].append(piece.name)
            else:
                single.setdefault(piece.name, {})[moment] = copied(x, "cpu")
    all_told: list[Any] = [None] * optimizer.ranks
    dist.all_gather_object(all_told, (single, dtypes))
    one: dict = {}
    kinds: dict = {}
    for values, moments in all_told:
        one.update(values)
        for moment, (dtype, names) in moments.items():
            known = kinds.setdefault(moment, (dtype, []))[1]
            known += [name for name in names if name not in known]
    return one, kinds


def states(optimizer, unit):
    """Each piece of a unit on this rank, and what is kept for it."""
    for name, (home, piece, part) in optimizer.pieces.items():
        if home is unit and part in optimizer.optimizer.state:
            assert piece.name == name
            yield piece, optimizer.optimizer.state[part]


def per_number(moment: str, x: Any) -> bool:
    """Whether a moment has a value for each number of the weight."""
    return isinstance(x, Tensor) and x.ndim > 0 and moment != "step"


def collected(optimizer, unit, moment: str, dtype) -> dict[str, Tensor]:
    """One moment of a unit's weights, whole."""
    own = torch.zeros(unit.shard, dtype=dtype, device=unit.device)
    for piece, held in states(optimizer, unit):
        if moment in held:
            own[piece.shard] = held[moment]
    whole = own.new_empty(unit.padded)
    all_gather(whole, own)
    return {name: x.clone() for name, x in unit.views(whole).items()}


def scatter(optimizer, found: dict[str, dict[str, Any]]) -> None:
    """Cut a whole state to this rank's pieces."""
    for name, moments in found.items():
        if name not in optimizer.trained:
            raise ValueError(
                f"state: got {name!r}, expected names of trained weights "
                f"such as {next(iter(optimizer.trained))!r}"
            )
        shape = optimizer.trained[name].shape
        if name in optimizer.pieces:
            _, piece, part = optimizer.pieces[name]
        for moment, x in moments.items():
            if not single(moment, x, shape) and x.shape != shape:
                raise ValueError(
                    f"state: got {moment} of {name!r} of shape "
                    f"{tuple(x.shape)}, expected {tuple(shape)}"
                )
        if name in optimizer.pieces:
            optimizer.optimizer.state[part] = {
                moment: copied(x, counter_device(optimizer, part))
                if single(moment, x, shape)
                else x.reshape(-1)[piece.inside].to(part.device, copy=True)
                for moment, x in moments.items()
            }
    forget(optimizer, found)


def forget(optimizer, found: dict[str, dict[str, Any]]) -> None:
    """Drop the moments of weights that a state does not have."""
    for name, (_, _, part) in optimizer.pieces.items():
        if name not in found:
            optimizer.optimizer.state.pop(part, None)


def single(moment: str, x: Any, shape: torch.Size) -> bool:
    """Whether a moment is one for the whole weight."""
    tensor = isinstance(x, Tensor)
    return not tensor or moment == "step" or (x.ndim == 0 and shape != ())


def copied(x: Any, device) -> Any:
    """The same in memory of its own, on a device."""
    return x.to(device, copy=True) if isinstance(x, Tensor) else x


def counter_device(optimizer, part: Tensor) -> Any:
    """Where PyTorch wants a count of steps: with the weight if it is fused."""
    options = optimizer.optimizer.defaults
    there = options.get("fused") or options.get("capturable")
    return part.device if there else "cpu"


def weights(optimizer) -> dict[str, Tensor]:
    """All trained weights of all units, on every rank."""
    found = {}
    for unit in optimizer.units:
        own = unit.master.to(unit.device)  # offloaded, it lies elsewhere
        whole = own.new_empty(unit.padded)
        all_gather(whole, own)
        for name, x in unit.views(whole).items():
            found[name] = x.clone()
    return {name: found[name] for name in optimizer.trained}


def load(optimizer, found: dict[str, Tensor]) -> None:
    """Write this rank's part of whole weights into its shard."""
    if wrong := sorted(found.keys() ^ optimizer.trained.keys()):
        raise ValueError(
            f"weights: got {len(found)} with {wrong[0]!r} missing or unknown, "
            f"expected the {len(optimizer.trained)} that are trained"
        )
    for name, x in found.items():
        shape = optimizer.trained[name].shape
        if x.shape != shape:
            raise ValueError(
                f"weights: got {name!r} of shape {tuple(x.shape)}, expected "
                f"{tuple(shape)}"
            )
    for name, (_, piece, part) in optimizer.pieces.items():
        part.data.copy_(found[name].reshape(-1)[piece.inside])


def check_same(named: dict[str, nn.Parameter], ranks: int) -> None:
    """Raise `ValueError` unless all ranks have the same weights to cut."""
    if not named:
        raise ValueError("model: got no parameters, expected at least one")
    mine = [
        (name, tuple(p.shape), str(p.dtype), p.requires_grad)
        for name, p in named.items()
    ]
    everybody: list[Any] = [None] * ranks
    dist.all_gather_object(everybody, mine)
    for rank, other in enumerate(everybody):
        if other != everybody[0]:
            raise ValueError(
                f"model: got {difference(other, everybody[0])} on rank {rank}"
                ", expected the same as on rank 0"
            )


def difference(other: list, first: list) -> str:
    """The first weight that is another one, in words."""
    for a, b in zip(other, first, strict=False):
        if a != b:
            trained = "" if a[3] else ", frozen"
            return f"{a[0]} {a[1]} of {a[2]}{trained}"
    return f"{len(other)} parameters"
