"""What the pretraining chapter claims of Muon, proved."""

import copy
import shutil

import pytest
import torch

from llmnotes import checkpoint, train
from llmnotes.transformer.pretraining.muon import (
    Muon,
    MuonAdamW,
    orthogonalise,
)
from llmnotes.transformer.pretraining.recipe import Recipe, RecipeConfig

SHAPE = RecipeConfig(13, 11, n_embd=12, n_layer=2, n_head=3, n_inner=20)
IDS = torch.arange(3000) * 5 % 13
CONFIG = train.TrainConfig(
    steps=9, batch_size=5, block=7, learning_rate=3e-3, warmup=3, eval_every=3
)


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


def test_a_matrix_without_a_gradient_keeps_its_mean_and_stays():
    torch.manual_seed(0)
    pair = [torch.nn.Parameter(torch.randn(5, 4)) for _ in range(2)]
    alone = torch.nn.Parameter(pair[1].detach().clone())
    both, one = Muon(pair), Muon([alone])
    for step in range(4):
        grad = torch.randn(5, 4)
        alone.grad = pair[1].grad = grad
        pair[0].grad = None if step == 2 else torch.randn(5, 4)
        before = pair[0].detach().clone()
        both.step()
        one.step()
        assert torch.equal(before, pair[0]) == (step == 2)
        torch.testing.assert_close(pair[1], alone)


def start(seed=0):
    torch.manual_seed(seed)
    model = Recipe(SHAPE, IDS)
    return model, MuonAdamW(model, CONFIG.learning_rate)


def go(model, optimizer, out=None, **options):
    task = train.LanguageModelling(IDS, IDS, CONFIG)
    history = train.fit(
        model, task, CONFIG, optimizer=optimizer, out=out, progress=False,
        **options,
    )  # fmt: skip
    return [row.loss for row in history], list(model.parameters())


def test_a_run_with_muon_goes_on_to_the_same_bit(tmp_path):
    losses, weights = go(*start())
    go(*start(), out=tmp_path)
    shutil.rmtree(checkpoint.path(tmp_path, 9))  # stopped after step 6
    found, mine = go(*start(seed=1), out=tmp_path, resume=True)
    assert found == losses
    assert all(map(torch.equal, weights, mine))


def test_muon_is_pytorchs_kind_of_optimizer():
    """A schedule, a state by numbers and a copy are PyTorch's own."""
    model, optimizer = start()
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, 1, 4)
    train.loss(model, IDS[None, :9], IDS[None, 1:10]).backward()
    optimizer.step()
    schedule.step()
    rates = {group["lr"] for group in optimizer.param_groups}
    assert rates == {CONFIG.learning_rate * (0.5 + 0.5 / 4)}
    other, theirs = start()
    theirs.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other.load_state_dict(model.state_dict())
    both = copy.deepcopy((model, optimizer))
    for m, o in ((model, optimizer), (other, theirs), both):
        o.zero_grad()
        train.loss(m, IDS[None, :9], IDS[None, 1:10]).backward()
        o.step()
    for m in (other, both[0]):
        assert all(map(torch.equal, model.parameters(), m.parameters()))
