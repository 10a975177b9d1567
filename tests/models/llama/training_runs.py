"""Llama with one of its changes undone, each at the same parameters."""

from dataclasses import replace

import torch
from torch import nn

from llmnotes import train
from llmnotes.models.llama import LAPTOP, Block, Llama
from llmnotes.transformer.attention import as_projected
from llmnotes.transformer.gpt import gelu, initialise, parameters
from tests.transformer.gpt.training_runs import NANO, config_of, shakespeare


class Centred(nn.LayerNorm):
    """LayerNorm with a gain and no bias, as many numbers as RMSNorm."""

    def __init__(self, width, eps):
        super().__init__(width, eps, bias=False)


class WithLayerNorm(Block):
    """Rows lose their mean before they are scaled."""

    norm = Centred


class Gelu(nn.Module):
    """GPT-2's MLP: two matrices, half as wide again as the three."""

    def __init__(self, config):
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size * 3 // 2
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(gelu(self.up_proj(x)))


class WithGelu(Block):
    """No gate."""

    feed_forward = Gelu


class WithBiases(Block):
    """Every product of matrices adds a bias."""

    def __init__(self, config, layer):
        super().__init__(config, layer)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                zeros = torch.zeros(module.out_features)
                module.bias = nn.Parameter(zeros)


class Placed(nn.Embedding):
    """A row per token and one per position, added."""

    def __init__(self, config):
        super().__init__(config.vocab_size, config.hidden_size)
        longest = config.max_position_embeddings
        self.places = nn.Embedding(longest, config.hidden_size)

    def forward(self, ids):
        return super().forward(ids) + self.places.weight[: ids.shape[1]]


class WithTable(Llama):
    """Learned positions at the input; queries and keys stay as they are."""

    def __init__(self, config):
        super().__init__(config)
        self.model["embed_tokens"] = Placed(config)
        initialise(self, residuals=1)

    def turn(self, positions, dtype):
        return as_projected


class OldBlock(WithBiases):
    """GPT-2's block."""

    norm, feed_forward = nn.LayerNorm, Gelu


class Old(WithTable):
    """GPT-2, but for the name of its parts."""

    block = OldBlock


def with_block(block):
    """Llama with another block."""
    return type(block.__name__, (Llama,), {"block": block})


MHA = replace(LAPTOP, num_key_value_heads=LAPTOP.num_attention_heads)
TIED = replace(LAPTOP, tie_word_embeddings=True)
WHOLE = "Llama"
OLD = "all six, GPT-2"
# Each undoes one change: name -> (model, shape).
ABLATION = {
    WHOLE: (Llama, LAPTOP),
    "LayerNorm for RMSNorm": (with_block(WithLayerNorm), LAPTOP),
    "GELU for SwiGLU": (with_block(WithGelu), LAPTOP),
    "learned positions for RoPE": (WithTable, LAPTOP),
    "MHA for GQA": (Llama, MHA),
    "biases": (with_block(WithBiases), LAPTOP),
    "tied head": (Llama, TIED),
    OLD: (Old, replace(MHA, tie_word_embeddings=True)),
}


def count(kind, shape):
    """Parameters of a model that is not made."""
    with torch.device("meta"):
        return parameters(kind(shape))


GOAL = count(*ABLATION[WHOLE])


def fitted(kind, shape):
    """The shape with an MLP that brings the model to Llama's parameters."""
    least, more = 200, 100
    low = count(kind, replace(shape, intermediate_size=least))
    high = count(kind, replace(shape, intermediate_size=least + more))
    inner = least + round(more * (GOAL - low) / (high - low))
    return replace(shape, intermediate_size=inner)


STEPS = 500
HELD_BACK = 0.05  # of the training text: what rates are chosen on


def built(name, seed=0):
    """A model of the ablation, as it starts."""
    kind, shape = ABLATION[name]
    torch.manual_seed(seed)
    return kind(fitted(kind, shape))


def chosen(name, rate, seed):
    """Train a variant on most of the training text: the loss on the rest."""
    ids, _ = shakespeare()
    cut = int(len(ids) * (1 - HELD_BACK))
    return [loss_of(name, rate, seed, ids[:cut], ids[cut:])]


def ablated(name, rate, seed):
    """Train a variant on the training text: the loss on the validation's."""
    return [loss_of(name, rate, seed, *shakespeare())]


def loss_of(name, rate, seed, ids, other, steps=STEPS):
    """Train a variant on one core; returns its loss."""
    model = built(name, seed)
    config = config_of(
        NANO, steps, seed, rate, min_learning_rate=0.0, schedule="linear",
        clip=1.0, eval_every=steps,
    )  # fmt: skip
    task = train.LanguageModelling(ids, other, config)
    train.fit(model, task, config, progress=False)
    return train.evaluate_all(model, other, config)
