"""The two models that are quantized, and how each is judged.

layers  = {name: a linear layer}: all matrices but the embeddings
blocks  = the same, block by block
judge   = what a model loses, on text that nobody calibrates on
show    = let a model read calibration text of a seed

The GPT has read the training part of Python's reference and is judged on the
validation part: by its loss, and by how far its distributions are from those
of the model before. MiniLM is judged by the cosine of sentences' vectors with
those before.
"""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from llmnotes import data
from llmnotes.transformer.bert.files import load_minilm
from llmnotes.transformer.bert.sentences import embed
from llmnotes.transformer.gpt.model import Conv1D
from tests import base_model

LENGTH = 64  # tokens of a window
SENTENCES = 60


@dataclass(frozen=True)
class Subject:
    """A model in full precision, how to judge it, what it may read."""

    model: nn.Module
    judge: Callable[[nn.Module], tuple]
    show: Callable[[nn.Module, int], None]
    blocks: Callable[[nn.Module], list[dict[str, nn.Module]]]

    def layers(self, model):
        """All linear layers by name."""
        return {k: v for block in self.blocks(model) for k, v in block.items()}

    def copy(self):
        """A model that may be changed."""
        return copy.deepcopy(self.model)


def weight_of(layer):
    """The matrix with a row for each output, whichever way it is stored."""
    weight = layer.weight.detach()
    return weight.T if isinstance(layer, Conv1D) else weight


@torch.no_grad()
def put(layer, weight):
    """Give a layer another matrix, a row for each output."""
    layer.weight.copy_(weight.T if isinstance(layer, Conv1D) else weight)


def linears(module, prefix):
    """The linear layers below a module, in the order of its definition."""
    kinds = nn.Linear, Conv1D
    return {
        f"{prefix}{name}": part
        for name, part in module.named_modules()
        if isinstance(part, kinds)
    }


@functools.cache
def gpt():
    """The GPT; judged by loss and by KL from the model before, in nats."""
    model = base_model.base()
    _, other = base_model.ids(base_model.BEFORE)
    ids, targets = (
        part[: len(part) // LENGTH * LENGTH].reshape(-1, LENGTH)
        for part in (other[:-1], other[1:])
    )
    before = log_probabilities(model, ids)

    def judge(model):
        after = log_probabilities(model, ids)
        loss = F.nll_loss(after.flatten(0, 1), targets.flatten())
        apart = (before.exp() * (before - after)).sum(-1).mean()
        return loss.item(), apart.item()

    def show(model, seed):
        model(draw(base_model.ids(base_model.BEFORE)[0], seed))

    def blocks(model):
        return [
            linears(block, f"h.{i}.")
            for i, block in enumerate(model.transformer["h"])
        ]

    return Subject(model, judge, show, blocks)


def draw(ids, seed, windows=256):
    """Some windows of a text."""
    rng = torch.Generator().manual_seed(1000 + seed)
    last = len(ids) - LENGTH
    starts = torch.randint(last, (windows,), generator=rng)
    return torch.stack([ids[i : i + LENGTH] for i in starts.tolist()])


@torch.no_grad()
def log_probabilities(model, windows):
    """Of every next token, in every window."""
    parts = [F.log_softmax(model(some), -1) for some in windows.split(64)]
    return torch.cat(parts)


@functools.cache
def minilm():
    """MiniLM's real weights, judged by the vectors of sentences."""
    model, tokenizer = load_minilm()
    before, after = data.split(sentences())
    chosen = after[:: max(1, len(after) // SENTENCES)][:SENTENCES]
    wanted = embed(model, tokenizer, chosen)
    first, *pieces, last = tokenizer.encode(". ".join(before))
    ids = torch.tensor(pieces)

    def judge(model):
        found = embed(model, tokenizer, chosen)
        return ((found * wanted).sum(-1).mean().item(),)

    def show(model, seed):
        some = draw(ids, seed, windows=40)  # no sentences: they need padding
        some[:, 0], some[:, -1] = first, last
        for part in some.split(20):
            model(part, torch.ones_like(part, dtype=torch.bool))

    def blocks(model):
        return [
            linears(layer, f"{i}.")
            for i, layer in enumerate(model.encoder["layer"])
        ]

    return Subject(model, judge, show, blocks)


def sentences():
    """Sentences of Python's reference, of 6 to 40 words."""
    text = " ".join(data.text(base_model.BEFORE).split())
    return [s for s in text.split(". ") if 6 <= len(s.split()) <= 40]
