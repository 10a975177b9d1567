"""PyTorch's own tensor parallelism beside ours, on the same weights."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    SequenceParallel,
    loss_parallel,
    parallelize_module,
)

from llmnotes.parallel import tensor_parallel as tp
from llmnotes.parallel.data_parallel import Traffic
from tests.parallel.tensor_parallel import dense, split


class NormedMLP(nn.Module):
    """A norm and an MLP, from PyTorch's layers with the dense weights."""

    def __init__(self):
        super().__init__()
        block = dense.model().transformer.h[0]
        self.norm, self.up = block.ln_2, linear(block.mlp.c_fc)
        self.down = linear(block.mlp.c_proj)

    def forward(self, x):
        """Norm, widen, bend, narrow."""
        x = F.gelu(self.up(self.norm(x)), approximate="tanh")
        return self.down(x)


class Ours(nn.Module):
    """The same of ours."""

    def __init__(self, ways):
        super().__init__()
        block = dense.model().transformer.h[0]
        self.norm, self.mlp = (
            tp.LayerNorm(block.ln_2, ways),
            tp.MLP(block.mlp, ways),
        )

    def forward(self, x):
        """Norm, then the MLP."""
        return self.mlp(self.norm(x))


NAMES = {
    "norm.weight": "norm.weight", "norm.bias": "norm.bias",
    "up.weight": "mlp.c_fc.weight", "up.bias": "mlp.c_fc.bias",
    "down.weight": "mlp.c_proj.weight", "down.bias": "mlp.c_proj.bias",
}  # fmt: skip


def linear(conv):
    """An `nn.Linear` with the weights of a Conv1D."""
    made = nn.Linear(*conv.weight.shape).double()
    made.weight.data, made.bias.data = conv.weight.data.T, conv.bias.data
    return made


PLANS = {
    "replicated": {"up": ColwiseParallel(), "down": RowwiseParallel()},
    "pieces": {
        "norm": SequenceParallel(),
        "up": ColwiseParallel(input_layouts=Shard(1)),
        "down": RowwiseParallel(output_layouts=Shard(1)),
    },
}


def beside(way, ranks):
    """How far apart, by name; what PyTorch asked for; a norm's own part."""
    mesh = init_device_mesh("cpu", (ranks,))
    theirs = parallelize_module(NormedMLP(), mesh, PLANS[way])
    ways = split.WAYS[way]()
    x, weights = dense.rows()
    x = ways.tokens(x, 1).clone().requires_grad_()
    weights = ways.tokens(weights, 1)
    with Traffic() as forward:
        out = theirs(x)
        out = out.to_local() if isinstance(out, DTensor) else out
    with Traffic() as backward:
        (out * weights).sum().backward()
    ours, ours_x = Ours(ways), x.detach().clone().requires_grad_()
    said = ours(ours_x)
    (said * weights).sum().backward()
    grads = tp.whole(ours, gradients=True)
    apart = {"output": far(out, said), "input": far(x.grad, ours_x.grad)}
    parts = {}
    for name, p in theirs.named_parameters():
        right = grads[NAMES[name]]
        full, parts[name] = whole_of(p.grad)
        full = full.T if full.ndim == 2 else full
        apart[name] = far(full, right)
    norm = far(parts["norm.weight"], grads["norm.weight"])
    return apart, dict(forward.count()), dict(backward.count()), norm


def whole_of(x):
    """All of a gradient, and what this rank has of it."""
    if isinstance(x, DTensor):
        return x.full_tensor(), x.to_local()
    return x, x


def far(a, b):
    """The largest difference, where shapes allow one."""
    same = a.shape == b.shape
    return float((a - b).detach().abs().max()) if same else float("nan")


def losses(ranks):
    """Uneven cross-entropy: how far loss and gradient are apart; calls."""
    mesh = init_device_mesh("cpu", (ranks,))
    targets = torch.tensor(split.EDGES)
    logits = split.logits_for(7, len(targets), 1.0)
    spread = DTensor.from_local(logits, mesh, [Replicate()])
    spread = spread.redistribute(mesh, [Shard(1)]).detach().requires_grad_()
    with Traffic() as calls, loss_parallel():
        loss = F.cross_entropy(spread, targets)
        loss.backward()
    said, _, _ = split.vocabulary(7, split.EDGES, 1.0)
    grad = spread.grad.full_tensor()
    return (
        abs(float(loss.to_local()) - float(said["loss"])),
        far(grad, torch.from_numpy(said["gradient"])),
        dict(calls.count()),
    )


def compared(ranks):
    """Everything at one number of ranks."""
    said = {way: beside(way, ranks) for way in PLANS}
    return said | {"loss": losses(ranks)}
