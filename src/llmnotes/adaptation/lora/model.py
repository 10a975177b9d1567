r"""A frozen layer, and beside it a low-rank matrix that learns.

    weight  = W₀, what was learned before: (outputs, inputs)
    rank    = r          A = (r, inputs)     B = (outputs, r), zero at first
    alpha   = α          scaling = α/r, or α/√r in rsLoRA
    delta   = ΔW = α/r · BA, what an adapter changes in the weight
    adapter = A, B and how they are used; a layer may hold several, by name
    active  = the names of those that are added at the moment

Sources
- Hu et al. 2021, "LoRA", arXiv 2106.09685, §4.1 (ΔW = BA, the start, α/r).
- Kalajdzievski 2023, "A Rank Stabilization Scaling Factor for Fine-Tuning
  with LoRA", arXiv 2312.03732 (α/√r).
- Liu et al. 2024, "DoRA", arXiv 2402.09353, §4.1 and §4.3 (the norm is held
  fixed on the way back).
"""

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.adaptation.lora.checks import (
    check_alpha,
    check_kept,
    check_names,
    check_plain,
    check_rank,
)
from llmnotes.adaptation.lora.layers import (
    is_linear,
    is_plain,
    is_transposed,
    matrix,
    place,
    sizes,
    trained_in,
)

NAME = "default"  # of an adapter, where nobody gives another


class LowRank(nn.Module):
    """LoRA's adapter: α/r · B(Ax), beside what the layer itself says.

    A is drawn uniformly from ±1/√inputs and B is zero, so that the first
    output is the layer's own. In half precision A and B are float32.

    Raises `ValueError` for a rank that is no integer from 1 to the smaller
    side of the weight, and an alpha that is no number above 0.

    Source: Hu et al. 2021, §4.1.
    """

    def __init__(self, layer: nn.Module, rank: int, alpha: float):
        super().__init__()
        inputs, outputs = sizes(layer)
        check_rank(rank, inputs, outputs)
        check_alpha(alpha)
        self.rank, self.alpha = int(rank), float(alpha)
        like = {"device": place(layer), "dtype": trained_in(layer)}
        self.A = nn.Parameter(torch.empty(rank, inputs, **like))
        self.B = nn.Parameter(torch.zeros(outputs, rank, **like))
        nn.init.uniform_(self.A, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs))

    @property
    def scaling(self) -> float:
        """What BA is multiplied by."""
        return self.alpha / self.rank

    def low_rank(
        self, x: Float[Tensor, "... input"]
    ) -> Float[Tensor, "... output"]:
        """Return α/r · B(Ax): two thin products, ΔW is never formed."""
        thin = F.linear(x.to(self.A.dtype), self.A)
        return F.linear(self.scaling * thin, self.B)

    def forward(
        self, x: Float[Tensor, "... input"], layer: nn.Module
    ) -> Float[Tensor, "... output"]:
        """Return what is to be added to `layer(x)`."""
        return self.low_rank(x)

    def delta(
        self, weight: Float[Tensor, "output input"]
    ) -> Float[Tensor, "output input"]:
        """Return what is to be added to the weight instead: ΔW."""
        return self.scaling * self.B @ self.A


class RankStabilised(LowRank):
    """rsLoRA: α/√r, so that a larger rank does not mean a smaller step.

    Source: Kalajdzievski 2023, theorem 3.2.
    """

    @property
    def scaling(self) -> float:
        """What BA is multiplied by."""
        return self.alpha / math.sqrt(self.rank)


class DoRA(LowRank):
    """Length and direction apart: m · (W₀ + ΔW) / ‖W₀ + ΔW‖, row by row.

    m, a number for each output, is trained too and begins as ‖W₀‖. The norm
    below the line counts as a constant on the way back.

    Source: Liu et al. 2024, equations 5 and 11.
    """

    def __init__(self, layer: nn.Module, rank: int, alpha: float):
        check_plain("layer", layer)
        super().__init__(layer, rank, alpha)
        length = matrix(layer).detach().to(self.A.dtype).norm(dim=1)
        if not length.all():
            raise ValueError(
                f"layer: got {int((length == 0).sum())} rows of zeros, "
                "expected rows with a direction"
            )
        self.m = nn.Parameter(length)

    def stretch(
        self, weight: Float[Tensor, "output input"]
    ) -> Float[Tensor, "output"]:
        """Return m / ‖W₀ + ΔW‖ for each row."""
        changed = weight + super().delta(weight)
        return self.m / changed.norm(dim=1).detach()

    def forward(
        self, x: Float[Tensor, "... input"], layer: nn.Module
    ) -> Float[Tensor, "... output"]:
        """Return what is to be added to `layer(x)`."""
        weight = matrix(layer).to(self.A.dtype)
        times = self.stretch(weight)
        own = F.linear(x.to(weight.dtype), weight)
        return (times - 1) * own + times * self.low_rank(x)

    def delta(
        self, weight: Float[Tensor, "output input"]
    ) -> Float[Tensor, "output input"]:
        """Return what is to be added to the weight instead."""
        changed = weight + super().delta(weight)
        return self.stretch(weight)[:, None] * changed - weight


class LoRALinear(nn.Module):
    """A frozen linear layer with adapters beside it.

    `base` is an nn.Linear, GPT-2's Conv1D, or a layer that has
    `in_features`, `out_features` and a `weight`. Its bias stays, frozen
    too. `kind` is `LowRank`, `RankStabilised` or `DoRA`.

    Raises `ValueError` for another base, and as the adapter does; the base
    is not touched then.
    """

    def __init__(
        self,
        base: nn.Module,
        rank: int,
        alpha: float,
        kind: Callable[[nn.Module, int, float], LowRank] = LowRank,
        name: str = NAME,
    ):
        super().__init__()
        self.check_base(base)
        self.adapters = nn.ModuleDict()
        self.active: tuple[str, ...] = ()
        self.original: Tensor | None = None  # W₀, while it is merged
        self.add(name, kind(base, rank, alpha))
        self.base = base.requires_grad_(False)
        self.train(base.training)

    def add(self, name: str, adapter: LowRank) -> None:
        """Take one more adapter, and make it the one that is active."""
        self.check_apart()
        self.check_free(name)
        self.adapters[name] = adapter
        self.active = (name,)

    def use(self, names: Iterable[str]) -> None:
        """Add these adapters' outputs from now on; none: the base alone."""
        self.check_apart()
        names = tuple(names)
        check_names(names, self.adapters)
        self.active = names

    def forward(
        self, x: Float[Tensor, "... input"]
    ) -> Float[Tensor, "... output"]:
        """Return the base's output and what the active adapters add."""
        out = self.base(x)
        if self.original is None:
            for name in self.active:
                out = out + self.adapters[name](x, self.base).to(out.dtype)
        return out

    @torch.no_grad()
    def merge(self) -> None:
        """Put the active adapters into the weight: W₀ + ΔW.

        W₀ is kept, for `unmerge`. Raises `ValueError` if it was merged
        already, if what comes out is no number, or if the base holds codes
        instead of a weight.
        """
        self.check_apart()
        check_kept(self.base)
        weight = self.base.weight
        merged = self.changed().to(weight.dtype)  # 1e5 is infinite in half
        if not merged.isfinite().all():
            raise ValueError(
                "adapter: got NaN or infinity in W₀ + ΔW, expected numbers; "
                "the base is as it was"
            )
        original = weight.detach().clone()
        matrix(self.base).copy_(merged)
        self.original = original

    def changed(self) -> Float[Tensor, "output input"]:
        """W₀ + ΔW of the active adapters; summed as they are trained."""
        adapters = [self.adapters[name] for name in self.active]
        weight = matrix(self.base).detach()
        wide = weight.to(adapters[0].A.dtype) if adapters else weight
        return wide + sum(adapter.delta(wide) for adapter in adapters)

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put W₀ back, bit by bit; `ValueError` if it was not merged."""
        self.check_merged()
        self.base.weight.copy_(self.original)
        self.original = None

    @property
    def weight(self) -> Tensor:
        """What the layer multiplies by, for those who read past `forward`.

        W₀ + ΔW in the shape of the base's; made anew each time.
        """
        alone = self.original is not None or not self.active
        if alone or not is_plain(self.base):
            return self.base.weight
        made = self.changed().to(self.base.weight.dtype)
        return made.T if is_transposed(self.base) else made

    @property
    def bias(self) -> Tensor | None:
        """The base's."""
        return self.base.bias

    @property
    def in_features(self) -> int:
        """How many numbers the layer reads."""
        return sizes(self.base)[0]

    @property
    def out_features(self) -> int:
        """How many numbers it hands on."""
        return sizes(self.base)[1]

    def check_base(self, base: nn.Module) -> None:
        """Raise `ValueError` for what is no linear layer, or adapted."""
        if isinstance(base, LoRALinear) or not is_linear(base):
            raise ValueError(
                f"base: got {type(base).__name__}, expected a linear layer"
            )

    def check_free(self, name: str) -> None:
        """Raise `ValueError` for a name that is taken, or cannot be one.

        The table of adapters has names of its own, such as "keys".
        """
        word = isinstance(name, str) and name and "." not in name
        if not word or hasattr(self.adapters, name):
            raise ValueError(
                f"name: got {name!r}, expected one without a dot and other "
                f"than {', '.join(self.adapters) or 'type or keys'}"
            )

    def check_apart(self) -> None:
        """Raise `ValueError` while the adapters are in the weight."""
        if self.original is not None:
            raise ValueError(
                "layer: is merged already, expected adapters beside it; "
                "unmerge first"
            )

    def check_merged(self) -> None:
        """Raise `ValueError` unless the adapters are in the weight."""
        if self.original is None:
            raise ValueError("layer: is not merged, expected one that is")
