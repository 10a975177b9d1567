"""What the pretraining chapter claims of Muon, proved."""

import pytest
import torch

from llmnotes.transformer.pretraining.muon import Muon, orthogonalise


@pytest.mark.parametrize(
    "shape", [(1, 6, 9), (3, 9, 6), (2, 7, 7), (1, 128, 512)]
)
def test_singular_values_come_near_one(shape):
    torch.manual_seed(0)
    g = torch.randn(shape)
    u = orthogonalise(1e-3 * g)
    values = torch.linalg.svdvals(u)
    assert values.median() > 0.6 and values.max() < 1.3
    # The directions stay: UᵀGV's diagonal is positive and carries all.
    left, _, right = torch.linalg.svd(g, full_matrices=False)
    inside = left.mT @ u @ right.mT
    off = inside - torch.diag_embed(inside.diagonal(dim1=-2, dim2=-1))
    assert off.abs().max() < 1e-3


def test_muon_equals_torchs():
    torch.manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(10, 6))
    theirs = torch.nn.Parameter(ours.detach().clone())
    a = Muon([ours], lr=0.02)
    b = torch.optim.Muon([theirs], lr=0.02, weight_decay=0)
    for _ in range(4):
        ours.grad = torch.randn(10, 6)
        theirs.grad = ours.grad.clone()
        before = ours.detach().clone()
        a.step()
        b.step()
        moved = (ours - before).norm()
        # Theirs computes the products in bfloat16.
        assert (ours - theirs).norm() < 0.05 * moved
        theirs.data.copy_(ours.data)


def test_muon_treats_queries_keys_and_values_as_three_matrices():
    torch.manual_seed(0)
    whole = torch.nn.Parameter(torch.zeros(12, 4))
    parts = [torch.nn.Parameter(torch.zeros(4, 4)) for _ in range(3)]
    whole.grad = torch.randn(12, 4)
    for part, grad in zip(parts, whole.grad.split(4), strict=True):
        part.grad = grad.clone()
    Muon([whole]).step()
    Muon(parts).step()
    torch.testing.assert_close(whole, torch.cat(parts))
