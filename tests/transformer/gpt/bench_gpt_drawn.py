"""The parameters that the drawing of GPT's block shows."""

import torch

from llmnotes.transformer.gpt import GPT, GPT_2_SMALL, MINIGPT, parameters


def parts(model):
    """Parameters of everything that the stream passes, once per block."""
    whole, block = model.transformer, model.transformer.h[0]
    return {
        "tokens": whole.wte,
        "positions": whole.wpe,
        "first norm": block.ln_1,
        "attention": block.attn,
        "second norm": block.ln_2,
        "mlp": block.mlp,
        "block": block,
        "all blocks": whole.h,
        "last norm": whole.ln_f,
        "all": model,
    }


def bench_where_the_parameters_are(record):
    rows = []
    for name, config in (("GPT-2 small", GPT_2_SMALL), ("miniGPT", MINIGPT)):
        with torch.device("meta"):
            found = parts(GPT(config))
        shape = config.n_layer, config.n_embd, config.n_head
        rows += [
            (name, part, *shape, parameters(module))
            for part, module in found.items()
        ]
    record(
        "parts",
        kind="exact",
        seed=None,
        title="Parameters of a GPT, part by part",
        prediction=(
            "4·C² + 4·C in attention, 8·C² + 5·C in the MLP, 2·C in a norm: "
            "of a block's matrices two thirds are the MLP's."
        ),
        columns={
            "model": "", "part": "", "layers": "", "width": "", "heads": "",
            "parameters": "",
        },
        rows=rows,
    )  # fmt: skip
