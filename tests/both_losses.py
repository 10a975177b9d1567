"""Training beside validation loss: curves of one model on both."""

from llmnotes import train


def curves(name, model, task, config):
    """Train; yields (curve, step, loss), for both losses at each evaluation.

    `task.known` is a list to which its `evaluate` adds the training loss.
    """
    first = train.judge(model, task)
    history = train.fit(model, task, config, progress=False)
    validation = [first, *(row.validation_loss for row in history)]
    steps = [0, *(row.step for row in history)]
    both = zip(steps, task.known, validation, strict=True)
    for step, known, new in both:
        yield f"{name}, training", step, known
        yield f"{name}, validation", step, new
