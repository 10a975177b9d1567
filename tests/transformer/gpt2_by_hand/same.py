"""Our step against torch's, tensor by tensor."""

import functools

import numpy as np

from llmnotes.transformer.gpt2_by_hand import (
    Tensors,
    from_gpt,
    parameter_shapes,
)
from tests.transformer.gpt2_by_hand import by_torch, tiny

# Forward only: nothing is left to be handed back through them.
NO_GRADIENT = (
    "ln1_mean ln1_rstd ln2_mean ln2_rstd lnf_mean lnf_rstd probs".split()
)


@functools.cache
def expected(config=tiny.TINY):
    """(loss, activations, their gradients, those of parameters) in float64."""
    model = tiny.scattered(config)
    loss, acts, dacts = by_torch.step(model, *tiny.ids(config))
    dacts["att"][:] = np.tril(dacts["att"])  # of the future nobody asks
    return loss, acts, dacts, gradients(model)


def gradients(model):
    """What autograd left, laid out as ours; the table is not padded."""
    state = {name: p.grad for name, p in model.named_parameters()}
    twin = type(model)(model.config).to(next(model.parameters()).dtype)
    twin.load_state_dict(state)
    return from_gpt(twin, None, by_torch.inputs_dtype(model))


def errors(ours, theirs):
    """{name: largest difference}, padding left out and found to be 0."""
    found = {}
    for name, b in theirs.items():
        a = ours[name]
        if a.shape != b.shape:
            axis = 0 if name == "wte" else -1
            a, gap = np.split(a, [b.shape[axis]], axis)
            assert not gap.any(), name
        found[name] = float(np.abs(a - b).max())
    return found


def step_errors(ours):
    """The largest differences of a step of ours, under four prefixes."""
    loss, acts, dacts, grads = expected(ours.config)
    found = {"loss": abs(ours.loss - loss)}
    found |= errors(ours.acts, acts)
    found |= {f"d{n}": e for n, e in errors(ours.dacts, dacts).items()}
    return found | {f"d{n}": e for n, e in errors(ours.grads, grads).items()}


def largest(ours):
    """The largest of them all."""
    found = step_errors(ours)
    assert all(np.isfinite(list(found.values()))), found
    return max(found.values())


def empty(config, rows=None):
    """An arena for the parameters, all zero."""
    return Tensors(parameter_shapes(config, rows), np.float64)
