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


def only_weights(tensors, facts, new):
    """As if nothing else had been saved; the loop alone knows its step."""
    facts |= {**new, "moments": facts["moments"], "step": facts["step"]}
    return without_moments(tensors, facts, new)


def interrupted(folder, at, left_out=None):
    """Train to a step, save, begin anew from there; the whole story."""
    return resumed(folder, *stopped(folder, at), left_out)


def stopped(folder, at):
    """Train to a step and save; what was read, and the losses."""
    training, read, losses = small.fresh(), [], []
    go_on(training, at, read, losses)
    small.save(Checkpoints(folder), training)
    return read, losses


def resumed(folder, read, losses, left_out=None):
    """Begin anew from the checkpoint; the whole story."""
    read, losses = list(read), list(losses)
    again = small.fresh(seed=1)
    again.generator = small.fresh().generator
    tensors, facts = Checkpoints(folder).tensors()
    if left_out:
        forget = FORGET.get(left_out, only_weights)
        tensors = forget(tensors, facts, small.fresh().facts())
    again.put(tensors, facts)
    go_on(again, small.STEPS, read, losses)
    return read, losses, small.state(again)


def go_on(training, steps, read, losses):
    """Up to that step."""
    while training.step < steps:
        numbers, loss = small.step(training)
        read.append(numbers)
        losses.append(loss)
