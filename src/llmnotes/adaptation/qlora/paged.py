"""AdamW whose moments lie on disk, a few pages of them in memory.

    page     = so many numbers of both moments, the unit that comes and goes
    room     = bytes of pages that may be in memory at once
    fault    = a page that was asked for and not there
    moments  = m and v, the running means of g and g² (Adam's names)

On a GPU the pages lie in the computer's memory and the driver moves them
("unified memory"); the idea is the same, and so is the cost: a page that was
not there must be waited for.

Sources
- Dettmers et al. 2023, "QLoRA", arXiv 2305.14314, §3, "Paged Optimizers".
- Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization",
  arXiv 1711.05101, algorithm 2.
"""

import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from llmnotes.checks import check_sizes

PAGE = 4096  # numbers of a page, for each moment
BYTES = 2 * 4 * PAGE


class Pages:
    """Pages of two moments each, at most `room` bytes of them in memory.

    The one that has not been used for longest goes first. Raises
    `ValueError` for room for less than one page.
    """

    def __init__(self, count: int, room: int):
        check_sizes(BYTES, room=room)
        self.file = tempfile.TemporaryFile()
        self.file.truncate(count * BYTES)  # zeros, as moments begin
        self.held: OrderedDict[int, Tensor] = OrderedDict()
        self.most, self.faults = room // BYTES, 0

    def get(self, number: int) -> Tensor:
        """The page (2, PAGE): a view that may be written to, until the next.

        `Pages` keeps it as long as there is room, and writes it back after.
        """
        if number in self.held:
            self.held.move_to_end(number)
            return self.held[number]
        self.faults += 1
        if len(self.held) == self.most:
            self.put(*self.held.popitem(last=False))
        self.file.seek(number * BYTES)
        body = bytearray(self.file.read(BYTES))
        page = torch.frombuffer(body, dtype=torch.float32).view(2, PAGE)
        return self.held.setdefault(number, page)

    def put(self, number: int, page: Tensor) -> None:
        """Write a page to the disk."""
        self.file.seek(number * BYTES)
        self.file.write(page.numpy().tobytes())

    @property
    def nbytes(self) -> int:
        """Bytes of the pages that are in memory."""
        return len(self.held) * BYTES


class PagedAdamW(torch.optim.Optimizer):
    """AdamW with its moments in pages; the numbers are those of AdamW.

    `room` are the bytes that moments may take in memory. A checkpoint cannot
    hold its moments, nor can weights be added later. Raises `ValueError` for
    these, for what AdamW refuses, for room for less than a page, and for
    weights that are not float32 in one piece on the CPU.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter | dict],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        room: int,
    ):
        check_rates(lr, betas, eps, weight_decay)
        defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
        super().__init__(params, defaults)
        flat = [p for group in self.param_groups for p in group["params"]]
        check(flat)
        self.first, count = {}, 0  # the first page of each parameter
        for p in flat:
            self.first[p] = count
            count += -(-p.numel() // PAGE)
        self.steps = dict.fromkeys(flat, 0)  # of each: some have no gradient
        self.pages = Pages(count, room)

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> float | Tensor | None:
        """One step, page after page; returns what the closure does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.move(p, group)
        return loss

    def move(self, p: nn.Parameter, group: dict) -> None:
        """Update one parameter."""
        self.steps[p] += 1
        step, (b1, b2) = self.steps[p], group["betas"]
        weight, grad = p.view(-1), p.grad.reshape(-1)
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        for w, g, page in self.pieces(p, weight, grad):
            m, v = page[:, : len(w)]
            m.lerp_(g, 1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            root = v.sqrt() / (1 - b2**step) ** 0.5
            rate = group["lr"] / (1 - b1**step)
            w.addcdiv_(m, root.add_(group["eps"]), value=-rate)

    def pieces(self, p, weight, grad) -> Iterator[tuple[Tensor, ...]]:
        """Weights, gradients and moments of each page of a parameter."""
        for i, start in enumerate(range(0, len(weight), PAGE)):
            end = start + PAGE
            page = self.pages.get(self.first[p] + i)
            yield weight[start:end], grad[start:end], page

    def add_param_group(self, param_group: dict) -> None:
        """Take weights when the optimizer is made; `ValueError` later."""
        if hasattr(self, "pages"):
            raise ValueError(
                "param_group: got weights that have no pages, expected all "
                "of them when the optimizer is made"
            )
        super().add_param_group(param_group)

    def state_dict(self) -> dict:
        """Raise `ValueError`: moments lie on disk, and would be forgotten."""
        raise ValueError(
            f"optimizer: got {type(self).__name__}, whose moments lie in "
            "pages on disk, expected one whose state a checkpoint can hold"
        )

    def load_state_dict(self, state_dict: dict) -> None:
        """Raise `ValueError`, as `state_dict` does."""
        self.state_dict()


def check_rates(lr, betas, eps: float, weight_decay: float) -> None:
    """Raise `ValueError` for what `torch.optim.AdamW` refuses, too."""
    rates = {"lr": lr, "eps": eps, "weight_decay": weight_decay}
    for name, rate in rates.items():
        if not rate >= 0:
            raise ValueError(f"{name}: got {rate}, expected 0 or more")
    for beta in betas:
        if not 0 <= beta < 1:
            raise ValueError(
                f"betas: got {beta}, expected two from 0 to below 1"
            )


def check(weights: Iterable[nn.Parameter]) -> None:
    """Raise `ValueError` for a weight that cannot be cut into pages."""
    for p in weights:
        plain = p.dtype == torch.float32 and p.device.type == "cpu"
        if not plain or not p.is_contiguous():
            raise ValueError(
                f"params: got {p.dtype} on {p.device} with strides "
                f"{p.stride()}, expected float32 in one piece on the CPU"
            )
