"""Models of one size that recall pairs: one run of one."""

import functools

import torch
from torch import nn

from llmnotes.models.kv_cache import KVCache
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.models.mamba import MambaConfig, QuickMamba
from llmnotes.models.mamba.hybrid import Hybrid
from llmnotes.models.mamba.recall import NAMES, VOCAB, Assignments, recalled
from llmnotes.models.s4 import S4, S4Config
from llmnotes.modes import evaluating
from llmnotes.sequence.lstm import set_forget_bias
from llmnotes.sequence.lstm.by_hand import FusedLSTM
from llmnotes.train import fit
from llmnotes.train_config import TrainConfig

STEPS = 1200
PAIRS = 1, 2, 4, 8, 16
GOAL = 29_500  # parameters of each, within 3 %
LAYERS = 4  # of those that look back in some of them


class Reader(nn.Module):
    """Two recurrent layers between an embedding and a linear layer."""

    def __init__(self, width):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, width)
        self.layers = set_forget_bias(FusedLSTM(width, width, 2))
        self.head = nn.Linear(width, VOCAB)

    def forward(self, ids):
        return self.head(self.layers(self.embed(ids))[0])


def llama(width):
    return Llama(
        LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=4 * (width // 4),
            intermediate_size=8 * width // 3,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=2 * NAMES,
            tie_word_embeddings=True,
        )
    )


def s4d(width):
    shape = S4Config(width, VOCAB, d_model=width, state=32)
    return nn.Sequential(nn.Embedding(VOCAB, width), S4(shape))


def shape(width, state, layers):
    return MambaConfig(VOCAB, width, state, layers)


def mamba(state, width):
    return QuickMamba(shape(width, state, 2))


def hybrid(looks, width):
    return Hybrid(shape(width, 2, LAYERS), looks)


CONTESTANTS = {
    "LSTM": Reader,
    "S4D": s4d,
    "Mamba N=2": functools.partial(mamba, 2),
    "Mamba N=8": functools.partial(mamba, 8),
    "Mamba N=32": functools.partial(mamba, 32),
    "Transformer": llama,
    "no look": functools.partial(hybrid, ()),
    "one look": functools.partial(hybrid, (1,)),
    "two looks": functools.partial(hybrid, (1, 3)),
    "looks only": functools.partial(hybrid, (0, 1, 2, 3)),
}


def size(model):
    return sum(p.numel() for p in model.parameters())


@functools.cache
def width_of(name):
    """The width at which a contestant comes nearest to the goal."""
    with torch.device("meta"):
        return min(
            range(12, 64),
            key=lambda w: abs(size(CONTESTANTS[name](w)) - GOAL),
        )


def built(name, seed=0):
    """A contestant as it starts."""
    width = width_of(name)
    torch.manual_seed(seed)
    return CONTESTANTS[name](width)


def found(name, rate, seed, steps=STEPS):
    """Train one; the share recalled after each number of pairs.

    The first number chooses a rate, from texts that no other judges.
    """
    model, asked = built(name, seed), Assignments(seed)
    config = TrainConfig(
        steps=steps,
        learning_rate=rate,
        min_learning_rate=0.0,
        schedule="cosine",
        betas=(0.9, 0.98),
        warmup=min(50, steps - 1),
        weight_decay=0.0,  # it would shorten what is remembered
        eval_every=steps,
        seed=seed,
    )
    fit(model, asked, config, progress=False)
    scores = [recalled(model, pairs) for pairs in PAIRS]
    return [1 - asked.evaluate(model), *scores]


def kept(model):
    """Numbers that a model keeps of a text of NAMES pairs."""
    if isinstance(model, Reader):
        return 4 * model.head.in_features  # h and c of both layers
    if isinstance(model, nn.Sequential):
        states = model[1].start(1)
        return sum(2 * h.numel() for h in states)  # complex numbers
    past = KVCache(NAMES) if isinstance(model, Llama) else model.cache_for(0)
    with evaluating(model):
        model(torch.zeros(1, NAMES, dtype=torch.long), past=past)
    held = past.bytes if isinstance(model, Llama) else past.nbytes
    return held // 4
