"""The singular values that the drawing of Muon shows."""

import pytest
import torch

from llmnotes import train
from llmnotes.transformer.gpt import GPT, GPTConfig
from llmnotes.transformer.pretraining.muon import orthogonalise
from tests.transformer.gpt.training_runs import shakespeare

SEED, ROUNDS = 0, 5
SHAPE = GPTConfig(65, 32, n_embd=24, n_layer=1, n_head=3)


def first_gradient(ids):
    """The gradient of attention's output matrix in the first step."""
    torch.manual_seed(SEED)
    model = GPT(SHAPE).double()
    batch = train.batch(ids, train.TrainConfig(batch_size=16, block=32), 0)
    train.loss(model, *batch).backward()
    return model.transformer.h[0].attn.c_proj.weight.grad


@pytest.mark.usefixtures("tiny_shakespeare")
def bench_singular_values_round_by_round(record):
    ids, _ = shakespeare()
    g = first_gradient(ids)
    u, _, v = torch.linalg.svd(g)
    found = []
    for done in range(ROUNDS + 1):
        now = u.mT @ orthogonalise(g[None], done)[0] @ v.mT
        values = now.diagonal()
        assert torch.allclose(now, values.diag(), atol=1e-9)
        found.append([round(float(x), 7) + 0.0 for x in values])
    record(
        "rounds",
        kind="tolerance",
        tolerance=1e-3,
        seed=SEED,
        title="A gradient's singular values through Muon's five rounds",
        prediction=(
            "What starts above 0.002 ends between 0.68 and 1.21, as for any "
            "matrix. Written after a first look: one direction holds nearly "
            "all of the norm, and the last is 0 and stays so."
        ),
        columns={
            "direction": "", "scaled": "",
            **{f"round_{i}": "" for i in range(1, ROUNDS + 1)},
        },
        labels={
            "scaled": "scaled to norm 1",
            **{f"round_{i}": f"round {i}" for i in range(1, ROUNDS + 1)},
        },
        rows=[
            (i, *row) for i, row in enumerate(zip(*found, strict=True), 1)
        ],
    )  # fmt: skip
