"""What the BERT experiments count and train, and how both are judged."""

import numpy as np
import torch
from einops import rearrange

from llmnotes import data, train
from llmnotes.train import EVALUATION
from llmnotes.transformer.attention import causal_mask
from llmnotes.transformer.bert import Bert, BertConfig, BertForMaskedLM
from llmnotes.transformer.bert.masking import hide

SYMBOLS = 65  # of tiny Shakespeare
MASK_ID = 65  # [MASK] comes after them
BLOCK = 32
PLACES = range(3, BLOCK, 8)  # where a block's characters are hidden, in turn
TINY = BertConfig(
    vocab_size=SYMBOLS + 1,
    hidden_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=512,
    max_position_embeddings=BLOCK,
    type_vocab_size=1,
    hidden_dropout_prob=0.0,
    initializer_range=0.08,  # about 1/√128, as BERT's 0.02 is near 1/√768
)


def shakespeare():
    """Training and validation ids of tiny Shakespeare."""
    text = data.text("tiny_shakespeare")
    return data.split(data.CharVocabulary(text).encode(text))


def left_only(most):
    """Offsets of what is looked at: nothing, one before, two before, …."""
    return [tuple(range(-n, 0)) for n in range(most + 1)]


def both_sides(most):
    """Nothing, one on each side, two on each side, …."""
    return [(*range(-n, 0), *range(1, n + 1)) for n in range(most + 1)]


def counted(ids, other, views, judged=False):
    """Whether the commonest symbol in its context is right, one by one.

    A context that never came in training falls back to the view before.
    `judged` keeps the places at which the models are judged.
    """
    ids, other = ids.numpy(), other.numpy()
    guess = np.zeros_like(other)
    for view in views:
        symbols, known = commonest(ids, other, view)
        guess[known] = symbols[known]
    right = torch.from_numpy(guess == other).double()
    if judged:
        whole = len(right) // BLOCK * BLOCK
        right = right[:whole].reshape(-1, BLOCK)[:, list(PLACES)]
    return right


def commonest(ids, other, view):
    """The commonest symbol for each context of `other`; if it is known."""
    context, _ = contexts(ids, view)
    pairs, times = np.unique(context * SYMBOLS + ids, return_counts=True)
    pairs = pairs[np.lexsort((times, pairs // SYMBOLS))]
    last = np.append(np.diff(pairs // SYMBOLS) > 0, True)
    keys, symbols = pairs[last] // SYMBOLS, pairs[last] % SYMBOLS
    context, whole = contexts(other, view)
    at = np.searchsorted(keys, context).clip(max=len(keys) - 1)
    return symbols[at], whole & (keys[at] == context)


def contexts(ids, view):
    """A number for what stands at the offsets; if all of them exist."""
    number = np.zeros_like(ids)
    whole = np.ones(len(ids), dtype=bool)
    place = np.arange(len(ids))
    for offset in view:
        number = number * SYMBOLS + np.roll(ids, -offset)
        whole &= (place + offset >= 0) & (place + offset < len(ids))
    return number, whole


class LeftToRight(Bert):
    """The same encoder, but a token sees itself and what is before it."""

    def visible(self, ids, mask):
        """A lower triangle."""
        return causal_mask(ids.shape[1], ids.shape[1], ids.device)[None, None]


class LeftToRightLM(BertForMaskedLM):
    """The same task with half of the view."""

    encoder = LeftToRight


def recipe(seed, steps=2000):
    """How the tiny models are trained, both alike."""
    return train.TrainConfig(
        steps=steps,
        batch_size=32,
        block=BLOCK,
        learning_rate=3e-3,
        warmup=50,
        min_learning_rate=0.0,
        schedule="linear",
        betas=(0.9, 0.98),
        weight_decay=0.01,
        eval_every=100,
        seed=seed,
    )


def batch(ids, config, step):
    """Inputs and labels of a step: 15 % hidden by the 80/10/10 rule."""
    text, _ = train.batch(ids, config, step)
    return hide(
        text, mask_id=MASK_ID, vocab_size=SYMBOLS, seed=config.seed, step=step
    )


class Cloze(train.LanguageModelling):
    """Guess what is hidden; `train.loss` skips what is not asked."""

    def batch(self, step):
        """15 % of the training text's blocks are hidden."""
        return batch(self.train_ids, self.config, step)

    def evaluate(self, model):
        """Loss on the same few batches of the validation text every time."""
        some = range(EVALUATION, EVALUATION + self.config.eval_batches)
        ids, config = self.validation_ids, self.config
        batches = (batch(ids, config, step) for step in some)
        return train.mean_loss(model, batches, config)


def fit(cls, ids, other, config):
    """Train a tiny model."""
    torch.manual_seed(config.seed)
    model = cls(TINY)
    train.fit(model, Cloze(ids, other, config), config)
    return model.eval()


@torch.no_grad()
def accuracy(model, ids):
    """Share of hidden characters that the likeliest one equals.

    One character of every block is hidden at a time, at each of PLACES.
    """
    whole = len(ids) // BLOCK * BLOCK
    blocks = rearrange(ids[:whole], "(n block) -> n block", block=BLOCK)
    right = []
    for place in PLACES:
        hidden = blocks.clone()
        hidden[:, place] = MASK_ID
        for part, true in zip(hidden.split(256), blocks.split(256),
                              strict=True):  # fmt: skip
            guess = model(part)[:, place, :SYMBOLS].argmax(-1)
            right.append(guess == true[:, place])
    return torch.cat(right).double().mean().item()


@torch.no_grad()
def first_layer_weights(model, ids):
    """Attention weights of the first layer: (heads, length, length)."""
    bert = model.bert
    x = bert.embeddings(ids[None], torch.zeros_like(ids[None]))
    layer = bert.encoder["layer"][0]
    return layer.attention["self"].weights(x)[0]
