"""The parameters that the drawing of the Transformer shows."""

import torch
from torch import nn

from llmnotes.transformer.gpt import parameters
from llmnotes.transformer.transformer import BASE, Transformer


def parts(model):
    """Parameters of everything a text passes, once per layer."""
    encoder, decoder = model.encoder.layers[0], model.decoder.layers[0]
    both = encoder.linear1, encoder.linear2
    return {
        "embedding": model.embedding,
        "attention": encoder.self_attn,
        "cross-attention": decoder.multihead_attn,
        "feed-forward": nn.ModuleList(both),
        "norm": encoder.norm1,
        "encoder layer": encoder,
        "decoder layer": decoder,
        "all": model,
    }


def bench_where_the_parameters_are(record):
    with torch.device("meta"):
        found = parts(Transformer(BASE))
    record(
        "parts",
        kind="exact",
        seed=None,
        title="Parameters of the Transformer's base model, part by part",
        prediction=(
            "4·d² in an attention, two thirds of an encoder layer in its "
            "feed-forward network; the one embedding is as large as six "
            "encoder layers."
        ),
        columns={"part": "", "parameters": ""},
        rows=[(name, parameters(part)) for name, part in found.items()],
    )
