"""A run that is stopped and goes on with one thing left out."""

from llmnotes.parallel.checkpointing import Checkpoints
from tests.parallel.checkpointing import small


def without_moments(tensors, facts, new):
    """As if the optimizer had been made anew."""
    facts["moments"] = {**facts["moments"], "state": {}}
    return {
        name: x
        for name, x in tensors.items()
        if not name.startswith("optimizer.")
    }


def without(name):
    """As if the checkpoint held what a new run has."""

    def forget(tensors, facts, new):
        facts[name] = new[name]
        return tensors

    return forget


FORGET = {"moments": without_moments} | {
    name: without(name)
    for name in ("scheduler", "generator", "examples", "step")
}


def interrupted(folder, at, left_out=None, steps=small.STEPS):
    """Train to a step, save, begin anew from there; the whole story."""
    training, read, losses = small.fresh(), [], []
    go_on(training, at, read, losses)
    where = Checkpoints(folder)
    small.save(where, training)
    again = small.fresh(seed=1)
    again.generator = small.fresh().generator
    tensors, facts = where.tensors()
    if left_out:
        new = small.fresh().facts()
        tensors = FORGET[left_out](tensors, facts, new)
    again.put(tensors, facts)
    go_on(again, steps, read, losses)
    return read, losses, small.state(again)


def go_on(training, steps, read, losses):
    """Up to that step."""
    while training.step < steps:
        numbers, loss = small.step(training)
        read.append(numbers)
        losses.append(loss)
