"""Who finds a word how far back: models with windows, and one without."""

import torch

from llmnotes.models.mistral import Mistral, MistralConfig
from llmnotes.models.mistral.task import VOCAB, Needle, right
from llmnotes.train import fit
from llmnotes.train_config import TrainConfig

LENGTH, EXAMPLES, STEPS = 48, 64, 1500
DISTANCES = 3, 7, 8, 14, 15, 28, 29, 40
CONTESTANTS = {  # layers, window: they reach 7, 14, 28 and all
    "one layer, window 8": (1, 8),
    "two layers, window 8": (2, 8),
    "four layers, window 8": (4, 8),
    "four layers, no window": (4, None),
}


def built(name, seed=0):
    """A contestant as it starts."""
    layers, window = CONTESTANTS[name]
    torch.manual_seed(seed)
    return Mistral(
        MistralConfig(
            vocab_size=VOCAB,
            hidden_size=64,
            intermediate_size=172,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=LENGTH,
            sliding_window=window,
        )
    )


def found(name, rate, seed, steps=STEPS):
    """Train one; the share of wrong answers, and of right ones by distance."""
    model, task = built(name, seed), Needle(LENGTH, EXAMPLES, seed)
    config = TrainConfig(
        steps=steps,
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        betas=(0.9, 0.98),
        warmup=min(50, steps - 1),
        eval_every=steps,
        seed=seed,
    )
    fit(model, task, config, progress=False)
    shares = [right(model, LENGTH, [back]) for back in DISTANCES]
    return [task.evaluate(model), *shares]
