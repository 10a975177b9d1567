"""What a training step holds in memory, counted storage by storage.

weights     = parameters of the model, trained or not
gradients   = what `backward` leaves at them
optimizer   = AdamW's two moments
activations = what the forward pass has left alive for the way back
peak        = the most that was alive at once, weights included
"""

import torch

from llmnotes import train
from llmnotes.parallel.data_parallel import Living, held


def step(model, ids):
    """Bytes of (weights, gradients, optimizer, activations, peak)."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    weights = held(list(model.parameters()))
    for _ in range(2):  # the second step has moments, as all later ones
        optimizer.zero_grad()
        with Living() as live:
            loss = train.loss(model, ids[:, :-1], ids[:, 1:])
            activations = live.bytes
            loss.backward()
            gradients = held([p.grad for p in trained])
            del loss
            optimizer.step()
        moments = [x for s in optimizer.state.values() for x in s.values()]
    states = held([x for x in moments if x.numel() > 1])
    peak = weights + states + live.peak
    return weights, gradients, states, activations, peak
