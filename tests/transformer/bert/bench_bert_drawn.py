"""The parameters that the drawing of BERT shows."""

import torch
from torch import nn

from llmnotes.transformer.bert import BERT_BASE, BertForMaskedLM
from llmnotes.transformer.gpt import parameters


def parts(model):
    """Parameters of everything that a hidden word passes, once per layer."""
    tables, layer = model.bert.embeddings, model.bert.encoder.layer[0]
    ends = layer.attention.output, layer.output
    mlp = nn.ModuleList([layer.intermediate, ends[1].dense])
    attention = nn.ModuleList([layer.attention["self"], ends[0].dense])
    return {
        "tokens": tables.word_embeddings,
        "positions": tables.position_embeddings,
        "types": tables.token_type_embeddings,
        "table norm": tables.LayerNorm,
        "attention": attention,
        "first norm": ends[0].LayerNorm,
        "mlp": mlp,
        "second norm": ends[1].LayerNorm,
        "layer": layer,
        "all layers": model.bert.encoder.layer,
        "head": model.cls,
    }


def bench_where_the_parameters_are(record):
    with torch.device("meta"):
        found = parts(BertForMaskedLM(BERT_BASE))
    record(
        "parts",
        kind="exact",
        seed=None,
        title="Parameters of BERT base, part by part",
        prediction=(
            "A layer is GPT-2 small's block: 12 · 768² + 13 · 768. The table "
            "of types is the smallest part of all, two rows of 768."
        ),
        columns={"part": "", "parameters": ""},
        rows=[(name, parameters(part)) for name, part in found.items()],
    )
