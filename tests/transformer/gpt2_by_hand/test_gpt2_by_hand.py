"""Mistakes planted in each backward: the comparison with torch finds them."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llmnotes.transformer.gpt2_by_hand import reference
from tests.transformer.gpt2_by_hand import same, tiny

SQUARE = "(lambda w: w.T if w.shape[0] == w.shape[1] else w)"
MISTAKES = {
    "encoder_backward": {
        "a token that comes twice counts once": (
            "np.add.at(dwte, inp, dout)",
            "dwte[inp] += dout",
        ),
        "sign of the positions": ("+= dout.sum(0)", "-= dout.sum(0)"),
        "only the first sequence": ("dout.sum(0)", "dout[0]"),
    },
    "layernorm_backward": {
        "sign": ("dinp += dnorm", "dinp -= dnorm"),
        "the stream is overwritten": ("dinp += dnorm", "dinp[:] = dnorm"),
        "the mean's term is missing": (
            "dnorm.mean(-1, keepdims=True) + ",
            "",
        ),
        "the length's term is missing": (" + norm * along", ""),
        "rstd is missing": ("dnorm * rstd[..., None]", "dnorm"),
        "the gain sees what was not normalised": ("dout * norm)", "dout)"),
        "the bias is forgotten": ("dbias += dout.sum((0, 1))", "pass"),
    },
    "matmul_backward": {
        "sign": ("dinp += dout", "dinp -= dout"),
        "wrong transpose for inputs": (
            "dout @ weight",
            f"dout @ {SQUARE}(weight)",
        ),
        "wrong transpose for weights": (
            "drows.T @ rows",
            f"{SQUARE}(drows.T @ rows)",
        ),
        "weights are overwritten": ("dweight += ", "dweight[:] = "),
        "mean for sum": ("drows.sum(0)", "drows.mean(0)"),
    },
    "attention_backward": {
        "sign of the softmax": ("datt - (", "datt + ("),
        "the softmax's sum is missing": (
            " - (att * datt).sum(-1, keepdims=True)",
            "",
        ),
        "wrong transpose for values": ("att.mT @ drows", "att @ drows"),
        "wrong transpose for keys": ("dpreatt.mT @", "dpreatt @"),
        "wrong transpose for queries": ("+= dpreatt @", "+= dpreatt.mT @"),
        "no scale for queries": ("@ key * scale", "@ key"),
        "no scale for keys": ("@ query * scale", "@ query"),
    },
    "gelu_backward": {
        "sign": ("1 - bend**2", "1 + bend**2"),
        "the first term is missing": ("0.5 * (1 + bend) + ", ""),
        "the cube's 3 is missing": ("3 * 0.044715", "0.044715"),
    },
    "residual_backward": {
        "sign": ("dinp2 += dout", "dinp2 -= dout"),
        "the stream is forgotten": ("dinp1 += dout", "pass"),
        "the branch is forgotten": ("dinp2 += dout", "pass"),
    },
    "crossentropy_softmax_backward": {
        "sign of the target": ("-= dlosses", "+= dlosses"),
        "the target is forgotten": (
            "dlogits[b, t, targets] -= dlosses",
            "pass",
        ),
        "no mean over tokens": (" * dlosses[..., None]", ""),
    },
}
UPDATES = {
    "sign": ("params -= lr", "params += lr"),
    "no correction of the mean": ("m / (1 - beta1**t)", "m"),
    "no correction of the square": ("v / (1 - beta2**t)", "v"),
    "eps inside of the root": (
        "np.sqrt(square) + eps",
        "np.sqrt(square + eps)",
    ),
    "decay through the moments": (
        "    m[:]",
        "    grads = grads + weight_decay * params\n    weight_decay = 0\n"
        "    m[:]",
    ),
    "no square": ("grads**2", "grads"),
}


def mistaken(name, old, new):
    """The kernels, one of them with a mistake."""
    text = inspect.getsource(inspect.unwrap(getattr(reference, name)))
    assert text.count(old) == 1, (name, old)
    scope = dict(vars(reference))
    exec(text.replace(old, new), scope)
    return SimpleNamespace(**scope)


def accumulated(kernels):
    """A step whose gradient came in two halves: what adds must add."""
    ours = tiny.by_hand(kernels=kernels)
    ours.forward(*tiny.ids())
    for _ in range(2):
        ours.backward(0.5)
    ours.dacts.numbers[:] *= 2
    return same.largest(ours)


def test_without_a_mistake_nothing_is_found():
    assert accumulated(reference) < 1e-12


@pytest.mark.parametrize(
    "kernel, mistake",
    [(k, m) for k, mistakes in MISTAKES.items() for m in mistakes],
)
def test_a_mistake_in_a_backward_is_found(kernel, mistake):
    assert accumulated(mistaken(kernel, *MISTAKES[kernel][mistake])) > 1e-5


def updated(kernels, steps=10):
    """Largest distance from torch's AdamW over ten steps, in float64."""
    draw = np.random.default_rng(0)
    ours, m, v = draw.standard_normal((3, 5, 7))
    m[:] = v[:] = 0
    theirs = torch.tensor(ours, requires_grad=True)
    options = dict(lr=0.01, weight_decay=0.1, eps=1e-3)
    optimizer = torch.optim.AdamW([theirs], betas=(0.9, 0.99), **options)
    worst = 0.0
    for t in range(1, steps + 1):
        grad = draw.standard_normal((5, 7))
        theirs.grad = torch.from_numpy(grad)
        optimizer.step()
        kernels.adamw(ours, grad, m, v, 0.01, 0.9, 0.99, 1e-3, 0.1, t)
        worst = np.maximum(worst, np.abs(ours - theirs.detach().numpy()).max())
    return worst


def test_adamw_is_torchs_over_ten_steps():
    assert updated(reference) < 1e-14


@pytest.mark.parametrize("mistake", UPDATES)
def test_a_mistake_in_adamw_is_found(mistake):
    with np.errstate(invalid="ignore"):
        found = updated(mistaken("adamw", *UPDATES[mistake]))
    assert not found < 1e-5
