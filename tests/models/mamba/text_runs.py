"""Five models of one size read one text: as they are built, and one run."""

import functools
from dataclasses import replace

import torch
from torch import nn

from llmnotes import train
from llmnotes.models.llama import Llama, LlamaConfig
from llmnotes.models.mamba import MambaConfig, QuickMamba
from llmnotes.models.mamba.hybrid import Hybrid
from llmnotes.models.s4 import S4, S4Config
from llmnotes.sequence.lstm import set_forget_bias
from llmnotes.sequence.lstm.by_hand import FusedLSTM
from tests.transformer.gpt.text_race import HELD_BACK, Reader, config_of, size
from tests.transformer.gpt.training_runs import shakespeare

STEPS, TUNED_AT = 1200, 300
VOCAB, LONGEST = 65, 16384 + 1
GOAL = 200_000  # parameters of each, within 2 %


def lstm(width):
    model = Reader(FusedLSTM, VOCAB, width)
    set_forget_bias(model.layers)
    return model


def s4d(width):
    shape = S4Config(width, VOCAB, d_model=width, state=32, n_layer=4)
    return nn.Sequential(nn.Embedding(VOCAB, width), S4(shape))


def mamba(width):
    return QuickMamba(MambaConfig(VOCAB, width, num_hidden_layers=6))


def hybrid(width):
    shape = MambaConfig(VOCAB, width, num_hidden_layers=6)
    return Hybrid(shape, looks=(3,), heads=4)


def llama(width):
    return Llama(
        LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=8 * (width // 8),
            intermediate_size=8 * width // 3,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=LONGEST,
            tie_word_embeddings=True,
        )
    )


CONTESTANTS = {
    "LSTM": lstm,
    "S4D": s4d,
    "Mamba": mamba,
    "Mamba with one look": hybrid,
    "Transformer": llama,
}


@functools.cache
def width_of(name):
    """The width at which a contestant comes nearest to the goal."""
    with torch.device("meta"):
        return min(
            range(32, 160),
            key=lambda w: abs(size(CONTESTANTS[name](w)) - GOAL),
        )


def built(name, seed=0):
    """A contestant as it starts."""
    width = width_of(name)
    torch.manual_seed(seed)
    return CONTESTANTS[name](width)


def settings(rate, steps, seed):
    """As GPT's race, without decay: it would shorten what is remembered."""
    return replace(config_of(rate, steps, seed), weight_decay=0.0)


def chosen(name, rate, seed):
    """A short run, judged on the end of the training text: the loss."""
    ids, _ = shakespeare()
    cut = int(len(ids) * (1 - HELD_BACK))
    config = settings(rate, TUNED_AT, seed)
    history = train.train(
        built(name, seed), ids[:cut], ids[cut:], config, progress=False
    )
    return [history.final_loss]


def read(name, rate, seed):
    """A whole run: the loss at the end."""
    config = settings(rate, STEPS, seed)
    history = train.train(
        built(name, seed), *shakespeare(), config, progress=False
    )
    return [history.final_loss]
