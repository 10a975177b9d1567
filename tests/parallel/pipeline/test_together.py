"""The same gradients as torch.distributed.pipelining, rank by rank."""

import numpy as np
import pytest
import torch

from llmnotes.parallel.pipeline import interleaved, step
from tests.parallel.pipeline import ranks, tiny

CASES = [
    ("ScheduleGPipe", 1, 5),
    ("Schedule1F1B", 1, 5),
    ("ScheduleInterleaved1F1B", 2, 6),
    ("ScheduleInterleavedZeroBubble", 1, 6),
]


@pytest.mark.parametrize(("kind", "chunks", "m"), CASES)
def test_loss_and_gradients_equal_pytorchs(on, kind, chunks, m):
    for loss, losses, mine, theirs in on(3, ranks.by_torch, kind, chunks, m):
        assert loss == pytest.approx(sum(losses) / m, abs=1e-14)
        assert set(mine) == set(theirs)
        for name, value in mine.items():
            np.testing.assert_allclose(value, theirs[name], rtol=0, atol=1e-16)


def test_pytorch_divides_gradients_again_at_every_step(on):
    for ratio in on(2, ranks.twice_by_torch, 4):
        assert ratio == pytest.approx(1.25)


def test_a_step_gives_every_rank_the_loss_and_the_norm_of_all(on):
    model, pieces = tiny.gpt(6), tiny.batches(5)
    found = on(3, step, model, interleaved(3, 5, 2), *pieces, 0.1)
    loss = tiny.backward(model, [pieces])
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
    for mine in found:
        assert mine == pytest.approx((loss, norm.item()), rel=1e-13)
