"""Single layers of random numbers; no library but torch is needed."""

import torch

from llmnotes.models.moe import MixtralConfig, Mixture

CHOSEN, EXPERTS, WIDTH, INNER = 2, 5, 6, 7
LAYER = dict(
    hidden_size=WIDTH,
    intermediate_size=INNER,
    num_attention_heads=1,
    num_key_value_heads=1,
    num_local_experts=EXPERTS,
    num_experts_per_tok=CHOSEN,
)


def layer(kind=Mixture, config=MixtralConfig, **change):
    """One layer in float64, of so large weights that nobody is second."""
    torch.manual_seed(0)
    made = kind(config(**LAYER | change)).double()
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(torch.randn_like(p))
    return made


def some_rows(*shape, seed=1):
    torch.manual_seed(seed)
    return torch.randn(*shape, WIDTH, dtype=torch.float64)
