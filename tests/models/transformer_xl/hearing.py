"""Change one token after the other, and see who hears of it."""

import torch

from llmnotes.models.transformer_xl import Memory
from tests.models.transformer_xl.tiny import in_segments

ROUNDING = 1e-12  # rows of a batch may differ by so much


@torch.no_grad()
def moved(model, ids, segment, mem_len):
    """By how much logits move: a row for each token that is changed."""
    length = ids.shape[1]
    rows = ids.repeat(length + 1, 1)
    at = torch.arange(length)
    rows[at, at] = (ids[0] + 1) % model.config.vocab_size
    *changed, before = in_segments(model, rows, segment, Memory(mem_len))
    return (torch.stack(changed) - before).norm(dim=-1)


def first_heard(model, ids, segment, mem_len):
    """For each position the first token whose change moves its logits."""
    heard = moved(model, ids, segment, mem_len) > ROUNDING
    return heard.int().argmax(0).tolist()
