"""The sizes that the drawing of multi-head attention shows."""

import torch

from llmnotes.transformer.attention import MultiHeadAttention

WIDTH, HEADS, TOKENS = 24, 6, 5  # as in the chapter's example


def bench_heads_on_fewer_key_heads(record):
    rows = []
    for kv_heads in (6, 3, 1):
        layer = MultiHeadAttention(WIDTH, HEADS, kv_heads=kv_heads)
        x = torch.zeros(1, TOKENS, WIDTH)
        query, key, value = layer.split(x)
        kept = (key[0, :, 0].numel(), value[0, :, 0].numel())
        rows.append(
            (
                *(TOKENS, WIDTH, HEADS, kv_heads, query.shape[-1]),
                layer(x).shape[-1],
                sum(kept),
                sum(p.numel() for p in layer.parameters()),
            )
        )
    record(
        "heads",
        kind="exact",
        seed=None,
        title="Six query heads on six, three and one key heads",
        prediction=(
            "A token's keys and values are 2 · 4 numbers for each key head: "
            "48, 24 and 8. The output is as wide as the input each time."
        ),
        columns={
            "tokens": "", "width": "", "heads": "", "kv_heads": "",
            "head_dim": "", "output": "", "kept": "", "parameters": "",
        },
        labels={"kept": "numbers kept for each token"},
        rows=rows,
    )  # fmt: skip
