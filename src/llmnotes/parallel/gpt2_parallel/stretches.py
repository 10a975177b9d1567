"""Parameters laid in the order in which backward finds their gradients.

    Ψ       = numbers of all parameters
    stretch = parameters that travel together; in memory they lie in a row,
              so nothing is copied before it is sent. Padded, so that all
              ranks get parts of one length
    ready   = the call of backward after which a stretch is whole

llm.c lays all layers' qkvw side by side, then all layers' qkvb, and so on: a
stretch of that is whole only when the first layer is done, which is last.
"""

from typing import NamedTuple

import numpy as np

from llmnotes.checks import check_sizes
from llmnotes.parallel.gpt2_parallel.cutting import last_writers
from llmnotes.transformer.gpt2_by_hand import calls
from llmnotes.transformer.gpt2_by_hand.calls import At
from llmnotes.transformer.gpt2_by_hand.layout import Shapes

SIZE = 2**22  # numbers in a stretch, at least


class Stretch(NamedTuple):
    """Where some parameters lie."""

    places: tuple[At, ...]
    ready: int
    start: int
    size: int  # numbers
    padded: int  # and what makes them a multiple of the ranks

    @property
    def whole(self) -> slice:
        """All of it, padding too."""
        return slice(self.start, self.start + self.padded)

    def part(self, rank: int, ranks: int) -> slice:
        """What one rank keeps."""
        each = self.padded // ranks
        first = self.start + rank * each
        return slice(first, first + each)


class Layout:
    """Where each parameter lies when `ranks` share the work."""

    def __init__(self, shapes: Shapes, layers: int, ranks: int, size=SIZE):
        check_sizes(ranks=ranks, size=size)
        self.shapes, self.layers = shapes, layers
        whole = last_writers(calls.backward(layers), shapes)
        order = sorted(whole, key=whole.__getitem__)
        self.stretches, start = [], 0
        for places in together(order, size, self.count):
            count = sum(map(self.count, places))
            padded = -(-count // ranks) * ranks
            ready = max(whole[place] for place in places)
            self.stretches.append(
                Stretch(tuple(places), ready, start, count, padded)
            )
            start += padded
        self.size = start

    def shape(self, place: At) -> tuple[int, ...]:
        """The shape of one layer of a tensor, or of a tensor."""
        shape = self.shapes[place.name.removeprefix("d")]
        return shape if place.layer is None else shape[1:]

    def count(self, place: At) -> int:
        """Numbers at a place."""
        return int(np.prod(self.shape(place)))

    def views(self, numbers: np.ndarray, prefix: str = "") -> dict:
        """Each tensor, or the list of its layers, as views of the numbers."""
        found = {prefix + n: [None] * self.layers for n in self.shapes}
        for stretch in self.stretches:
            start = stretch.start
            for place in stretch.places:
                name = prefix + place.name.removeprefix("d")
                stop = start + self.count(place)
                view = numbers[start:stop].reshape(self.shape(place))
                start = stop
                if place.layer is None:
                    found[name] = view
                else:
                    found[name][place.layer] = view
        return found


def together(places: list[At], size: int, count) -> list[list[At]]:
    """Neighbours in one list until they have `size` numbers."""
    found: list[list[At]] = []
    for place in places:
        if found and sum(map(count, found[-1])) < size:
            found[-1].append(place)
        else:
            found.append([place])
    return found
