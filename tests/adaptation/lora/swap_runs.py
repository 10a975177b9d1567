"""MiniLM learns to see swapped words: whole, its last layer, or by LoRA.

share = of the parameters, how many are trained
"""

import functools

import numpy as np
import torch

from llmnotes import train
from llmnotes.adaptation.lora import add_lora
from llmnotes.adaptation.lora.task import Classifier, Swaps, sentences
from llmnotes.transformer.bert import load_minilm

KNOWN, CHOICE, REPORT = slice(3000), slice(3000, 4000), slice(4000, 6000)
EPOCHS, BATCH = 2, 32
STEPS = EPOCHS * 3000 // BATCH
RANK = 8


def whole(model):
    """Everything is trained."""


def last_layer(model):
    """The last of six layers, and the head."""
    model.requires_grad_(False)
    model.bert.encoder["layer"][-1].requires_grad_(True)


def low_rank(model):
    """Adapters beside all 36 matrices, and the head."""
    add_lora(model.bert, RANK, alpha=RANK)


WAYS = {"full": whole, "last layer": last_layer, "LoRA, r = 8": low_rank}
RATES = {
    "full": (3e-5, 1e-4, 3e-4, 1e-3),
    "last layer": (3e-4, 1e-3, 3e-3, 1e-2),
    "LoRA, r = 8": (5e-4, 2e-3, 5e-3, 1.5e-2),
}


def model_for(way):
    """MiniLM with a new head, and what of it is to be trained."""
    bert, tokenizer = load_minilm()
    model = Classifier(bert)
    WAYS[way](model)
    model.head.requires_grad_(True)
    return model, tokenizer


def share(model):
    """Of the parameters before adapters, in percent: how many are trained."""
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    bert = sum(p.numel() for n, p in model.named_parameters()
               if ".adapters." not in n)  # fmt: skip
    return 100 * trained / bert


def learn(way, rate, seed, judged):
    """Train one contestant; its share of right answers on `judged`."""
    torch.manual_seed(seed)
    model, tokenizer = model_for(way)
    task = Swaps(tokenizer, sentences()[KNOWN], judged, BATCH, seed)
    config = train.TrainConfig(
        steps=STEPS,
        batch_size=BATCH,
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="linear",
        warmup=STEPS // 16,
        betas=(0.9, 0.999),
        weight_decay=0.01,
        eval_every=STEPS,
        seed=seed,
    )
    history = train.fit(model, task, config, progress=False)
    return 1 - history[-1].validation_loss


def chosen(way, rate, seed):
    """Judged on sentences that no report uses."""
    return [learn(way, rate, seed, sentences()[CHOICE])]


def reported(way, rate, seed):
    """Judged on sentences that nobody has chosen by."""
    return [learn(way, rate, seed, sentences()[REPORT])]


@functools.cache
def reports():
    """The sentences of the report, each as it is and with a swap."""
    from llmnotes.adaptation.lora.task import both

    return both(sentences()[REPORT], np.random.default_rng(0))
