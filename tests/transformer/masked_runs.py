"""What the BERT experiments count and train: text, models, how they are judged."""

import numpy as np
import torch
from einops import rearrange

from llmnotes import data, train
from llmnotes.transformer.attention import causal_mask
from llmnotes.transformer.bert import Bert, BertConfig, BertForMaskedLM
from llmnotes.transformer.masking import hide

SYMBOLS = 65  # of tiny Shakespeare
MASK_ID = 65  # [MASK] comes after them
BLOCK = 64
TINY = BertConfig(
    vocab_size=SYMBOLS + 1,
    hidden_size=128,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=512,
    max_position_embeddings=BLOCK,
    type_vocab_size=1,
    hidden_dropout_prob=0.0,
)
PLACES = range(3, BLOCK, 8)  # where one character of a block is hidden


class LeftToRight(Bert):
    """The same encoder, but a token sees itself and what is before it."""

    def visible(self, ids, mask):
        """A lower triangle."""
        return causal_mask(ids.shape[1], ids.shape[1], ids.device)[None, None]


class LeftToRightLM(BertForMaskedLM):
    """The same task with half of the view."""

    encoder = LeftToRight


def batch(ids, config, step):
    """Inputs and labels of a step: 15 % hidden by the 80/10/10 rule."""
    text, _ = train.batch(ids, config, step)
    return hide(
        text, mask_id=MASK_ID, vocab_size=SYMBOLS, seed=config.seed, step=step
    )


def fit(cls, ids, config):
    """Train a tiny model; returns it."""
    torch.manual_seed(config.seed)
    model = cls(TINY)
    optimizer = train.adamw(model, config)
    for step in range(config.steps):
        loss = train.update(
            model, optimizer, *batch(ids, config, step), config, step
        )
        if step % 100 == 0:
            print(step, loss.item(), flush=True)
    return model.eval()


@torch.no_grad()
def accuracy(model, ids):
    """Share of hidden characters that the likeliest one equals.

    One character of every block is hidden at a time, at eight places.
    """
    whole = len(ids) // BLOCK * BLOCK
    blocks = rearrange(ids[:whole], "(n block) -> n block", block=BLOCK)
    right, asked = 0, 0
    for place in PLACES:
        hidden = blocks.clone()
        hidden[:, place] = MASK_ID
        for part, true in zip(hidden.split(256), blocks.split(256)):
            guess = model(part)[:, place, :SYMBOLS].argmax(-1)
            right += int((guess == true[:, place]).sum())
            asked += len(part)
    return right / asked
