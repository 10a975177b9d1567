"""How much each token moves the newest one, by derivatives."""

import torch


def influences(model, length, seed=1):
    """Size of the derivative of the last logits, by distance; 0 is itself."""
    torch.manual_seed(seed)
    ids = torch.randint(model.config.vocab_size, (1, length))
    x = model.model.embed_tokens(ids).detach().requires_grad_()
    turn = model.turn(torch.arange(length), x.dtype)
    visible = model.reach(length, length, ids.device)
    logits = model.through(x, turn, visible)
    logits[0, -1].square().sum().backward()
    return x.grad[0].norm(dim=-1).flip(0)
