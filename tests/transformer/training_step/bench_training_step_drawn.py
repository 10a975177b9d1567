"""The operations that the drawing of a training step shows, sorted."""

from collections import Counter

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from tests.transformer.gpt.training_runs import MINI
from tests.transformer.training_step.steps import SEED, watched

PRODUCTS = {"mm", "addmm", "bmm"}
# What looks at the same numbers in another way, and computes nothing.
VIEWS = set(
    "view _unsafe_view t transpose permute detach split select slice unbind "
    "expand unsqueeze squeeze as_strided alias reshape_alias".split()
)


class Sorter(TorchDispatchMode):
    """Counts the operations that PyTorch is asked for, by their sort."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().split("::")[1].split(".")[0]
        product = name in PRODUCTS or "attention" in name
        view = name in VIEWS
        sort = "product" if product else "view" if view else "other"
        self.found[sort] += 1
        return function(*args, **(kwargs or {}))


def recorded(loss) -> int:
    """Operations of which autograd has written down the backward."""
    seen, ahead = set(), [loss.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen.add(node)
            ahead += [after for after, _ in node.next_functions]
    leaves = [n for n in seen if type(n).__name__ == "AccumulateGrad"]
    return len(seen) - len(leaves)


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_operations_by_sort(record):
    rows = []
    for name, seen, loss in watched(Sorter):
        sorts = (seen.found[s] for s in ("product", "other", "view"))
        rows.append((name, MINI.shape.n_layer, recorded(loss), *sorts))
    record(
        "sorts",
        kind="tolerance",
        tolerance=0.2,  # PyTorch's versions cut some operations differently
        seed=SEED,
        title="What one training step asks of PyTorch, by sort",
        prediction=(
            "A fused block is one operation for autograd instead of some "
            "thirty. Written after a first look: most of what is asked of "
            "PyTorch are views, with and without fusing."
        ),
        columns={
            "model": "", "layers": "", "recorded": "", "products": "",
            "others": "", "views": "",
        },
        labels={
            "recorded": "recorded by autograd",
            "others": "other passes",
        },
        rows=rows,
    )  # fmt: skip
