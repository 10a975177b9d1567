r"""A stack of layers in segments: n layers, k regions, 2√n at the peak.

    n, k     = layers, segments
    sizes    = layers in each segment, first to last
    peak     = blocks that live at once, in units of one layer's input:
               the inputs of all segments so far, and the inside of one

The last segment is not recomputed: its backward comes first, so to forget
it would save nothing.

Sources
- Chen et al. 2016, arXiv 1604.06174, §3.2 and §4.1: O(√n) memory for one
  extra forward pass.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.checks import check_sizes
from llmnotes.parallel.gradient_checkpointing.region import checkpoint


def balanced(layers: int, segments: int) -> list[int]:
    """Sizes that differ by one at most, larger ones first.

    Raises `ValueError` for more segments than layers, or less than one.
    """
    check_sizes(layers=layers, segments=segments)
    if segments > layers:
        raise ValueError(
            f"segments: got {segments}, expected at most the {layers} layers"
        )
    size, more = divmod(layers, segments)
    return [size + 1] * more + [size] * (segments - more)


def tapered(layers: int) -> list[int]:
    """…, 3, 2, 1: while the last segments run, many inputs lie waiting."""
    check_sizes(layers=layers)
    sizes: list[int] = []
    while (left := layers - sum(sizes)) > 0:
        sizes.append(min(len(sizes) + 1, left))
    return sorted(sizes, reverse=True)


def peak(sizes: Sequence[int]) -> int:
    """Blocks that live at once: j inputs and segment j, the worst of all j."""
    return max(j + size for j, size in enumerate(sizes, 1))


def forwards(sizes: Sequence[int]) -> int:
    """Layers that are run forward in a step: all, and all but the last."""
    return sum(sizes) + sum(sizes[:-1])


def timeline(sizes: Sequence[int]) -> list[tuple[str, int, set[int]]]:
    """What a step does, and which tensors live meanwhile.

    Each moment is (forward, again or backward; the layer; numbers of the
    tensors that live), where layer i reads tensor i and makes tensor i + 1.
    """
    moments = []
    starts = [sum(sizes[:j]) for j in range(len(sizes))]
    parts = [range(a, a + n) for a, n in zip(starts, sizes, strict=True)]
    last = parts[-1]

    def run(kind, part, kept, layers):
        for i in layers:
            start = i if kind == "forward" and part is not last else part[0]
            moments.append((kind, i, {*kept, *range(start, i + 2)}))

    for j, part in enumerate(parts):
        run("forward", part, starts[: j + 1], part)
    for j, part in reversed([*enumerate(parts)]):
        kept = starts[: j + 1]
        run("again", part, kept, () if part is last else part)
        run("backward", part, kept, reversed(part))
    return moments


class Checkpointed(nn.Sequential):
    """Layers one after the other, in segments of these sizes.

    Names of parameters are those of the layers in a list, whatever the
    segments, so checkpoints fit.

    Raises `ValueError` unless the sizes add up to the layers.
    """

    def __init__(self, layers: Iterable[nn.Module], sizes: Sequence[int]):
        super().__init__(*layers)
        check_sizes(**{f"sizes[{i}]": size for i, size in enumerate(sizes)})
        if sum(sizes) != len(self):
            raise ValueError(
                f"sizes: got {list(sizes)}, expected a sum of {len(self)} "
                "layers"
            )
        self.sizes = list(sizes)

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """All layers; each segment but the last is a region."""
        start = 0
        for size in self.sizes[:-1]:
            x = checkpoint(self[start : start + size].forward, x)
            start += size
        return self[start:].forward(x)

    def __getitem__(self, which: int | slice) -> nn.Module:
        """A layer, or several as a plain sequence."""
        found = list(self)[which]
        return nn.Sequential(*found) if isinstance(which, slice) else found


def checkpointed(layers: Iterable[nn.Module], segments: int) -> "Checkpointed":
    """A stack in so many segments of about equal size.

    Raises `ValueError` for more segments than layers, or less than one.
    """
    layers = list(layers)
    return Checkpointed(layers, balanced(len(layers), segments))


def each(layers: Iterable[nn.Module]) -> None:
    """Make every layer a region of its own, in place.

    All arguments of a layer (masks) pass through, names of parameters stay,
    and a copy of a layer is a region of the copy.

    Raises `ValueError` for a layer that is one already.
    """
    for layer in layers:
        forward = layer.forward
        if isinstance(forward, partial) and forward.func is checkpoint:
            raise ValueError(
                f"layers: got a {type(layer).__name__} that is a region "
                "already, expected each to be made one once"
            )
        layer.forward = partial(checkpoint, forward)
