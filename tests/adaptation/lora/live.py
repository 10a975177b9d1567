"""What a training step holds in memory, counted storage by storage.

weights     = parameters of the model, trained or not
gradients   = what `backward` leaves at them
optimizer   = AdamW's two moments
activations = what the forward pass has left alive for the way back
peak        = the most that was alive at once, weights included
"""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from llmnotes import train


class Live(TorchDispatchMode):
    """Counts the bytes of storages that operations make, while they live."""

    def __init__(self):
        super().__init__()
        self.alive, self.bytes, self.peak = {}, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        before = {key(x) for x in tensors((args, kwargs))}
        out = function(*args, **(kwargs or {}))
        for x in tensors(out):
            if key(x) not in before:
                self.add(x.untyped_storage())
        return out

    def add(self, storage):
        name = storage._cdata
        if name in self.alive:
            return
        self.alive[name] = storage.nbytes()
        self.bytes += storage.nbytes()
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self.free, name)

    def free(self, name):
        self.bytes -= self.alive.pop(name)


def tensors(tree):
    return [x for x in tree_leaves(tree) if isinstance(x, torch.Tensor)]


def key(x):
    return x.untyped_storage()._cdata


def size(some):
    return sum(x.untyped_storage().nbytes() for x in some)


def step(model, ids):
    """Bytes of (weights, gradients, optimizer, activations, peak)."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    weights = size(model.parameters())
    for _ in range(2):  # the second step has moments, as all later ones
        optimizer.zero_grad()
        with Live() as live:
            loss = train.loss(model, ids[:, :-1], ids[:, 1:])
            activations = live.bytes
            loss.backward()
            gradients = size(p.grad for p in trained)
            del loss
            optimizer.step()
        moments = [x for s in optimizer.state.values() for x in s.values()]
    held = size(x for x in moments if x.numel() > 1)
    return weights, gradients, held, activations, weights + held + live.peak
