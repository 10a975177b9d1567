"""What ranks of a mesh do in the tests."""

import copy

import torch
import torch.distributed as dist
from torch.nn import functional as F

from llmnotes.parallel import tensor_parallel as tp
from llmnotes.parallel.data_parallel import Traffic
from llmnotes.parallel.pipeline.mesh import Mesh
from llmnotes.parallel.pipeline.three import Three
from llmnotes.transformer.gpt import GPT, GPTConfig

SHAPE = GPTConfig(13, 6, n_embd=12, n_layer=5, n_head=2)
ROWS, LENGTH, PIECES = 7, 5, 3


def setting(rows=ROWS):
    """A dense GPT and a batch in which not all targets count."""
    torch.manual_seed(0)
    model = GPT(SHAPE).double()
    ids = torch.randint(13, (rows, LENGTH + 1))
    targets = ids[:, 1:].clone()
    for row in range(rows):
        targets[row, : row % 4] = -100
    return model, ids[:, :-1], targets


def dense():
    """Loss and gradients of one process."""
    model, inputs, targets = setting()
    loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    loss.backward()
    return loss.detach(), model


def errors(sizes, pieces=PIECES):
    """How far this rank's loss and gradients are from the dense ones."""
    loss, wanted = dense()
    mesh = Mesh(*sizes)
    three = Three(setting()[0], mesh, pieces)
    found = three.step(*setting()[1:])
    gradients = copy.deepcopy(wanted)
    for p, q in zip(gradients.parameters(), wanted.parameters(), strict=True):
        p.data = q.grad
    part = tp.TensorGPT(gradients, tp.Replicated(three.groups["tensor"]))
    parts = dict(part.named_parameters())
    far = {
        name: float((p.grad - parts[name]).abs().max())
        for name, p in three.names.items()
    }
    return float((found - loss).abs()), far


def sent(sizes, rows, pieces):
    """Numbers that leave this rank, by kind, and what it holds."""
    model, inputs, targets = setting(rows)
    three = Three(model, Mesh(*sizes), pieces)
    with Traffic() as inside:
        three.find(inputs, targets)
    with Traffic() as after:
        three.sum_up()
    messages = [c for c in inside.calls if c.kind == "send"]
    return {
        "place": three.place,
        "stages": sum(c.sent for c in messages),
        "tensor": inside.sent - sum(c.sent for c in messages),
        "data": after.sent,
        "numbers": sum(p.numel() for p in three.stage.parameters()),
        "layers": len(three.stage),
    }


def wrong_size():
    """A mesh of four places on two ranks."""
    try:
        Mesh(2, 2).join()
    except ValueError as error:
        dist.barrier()
        return str(error)
