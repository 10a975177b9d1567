"""The same mask where activations are the same, another where not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from llmnotes.parallel.tensor_parallel import Draws
from tests.parallel.tensor_parallel import split

EQUAL = pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(4000))


@pytest.fixture(scope="module")
def masks(steps):
    """Two seeds, two ranks, both ways."""
    return {
        (way, seed): [said["dropped", way, seed] for said in steps]
        for way in split.WAYS
        for seed in (5, 6)
    }


def alike(a, b):
    """The share of places where both drop or both keep."""
    return ((a > 0) == (b > 0)).mean()


def test_ranks_drop_the_same_from_the_same_tokens(masks):
    one, two = masks["replicated", 5]
    assert alike(one["between"], two["between"]) == 1


def test_ranks_drop_otherwise_inside_the_split_region(masks):
    for way in split.WAYS:
        one, two = masks[way, 5]
        assert alike(one["inside"], two["inside"]) == EQUAL


def test_heads_of_another_rank_drop_other_keys(masks):
    few = pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(820))
    for way in split.WAYS:
        one, two = masks[way, 5]
        assert one["heads"].shape == (820,)
        assert 0.4 < one["heads"].mean() < 0.6
        assert alike(one["heads"], two["heads"]) == few


def test_draws_of_a_rank_go_on(masks):
    for ranks in masks.values():
        for said in ranks:
            assert alike(said["inside"], said["again"]) == EQUAL


def test_ranks_drop_otherwise_from_tokens_of_their_own(masks):
    one, two = masks["pieces", 5]
    assert alike(one["between"], two["between"]) == EQUAL


def test_copies_of_the_model_drop_otherwise_everywhere(masks):
    """Another seed is another replica; no two ranks of both agree."""
    for i, one in enumerate(masks["replicated", 5]):
        for k, two in enumerate(masks["replicated", 6]):
            assert alike(one["between"], two["between"]) == EQUAL
            assert alike(one["inside"], two["inside"]) == EQUAL, (i, k)


def test_draws_of_ones_own_leave_the_shared_generator_alone(masks):
    for said in masks.values():
        assert (said[0]["after"] == said[1]["after"]).all()


def test_recomputing_draws_the_same_numbers_again():
    draws, found = Draws(5, rank=1), []

    def drops(x):
        with draws:
            return F.dropout(x).square()

    def kept(x):
        return checkpoint(drops, x, use_reentrant=False)

    for way in (drops, kept):
        torch.manual_seed(0)
        x = torch.ones(97, requires_grad=True)
        (dx,) = torch.autograd.grad((way(x) * way(x)).sum(), x)
        found.append(dx)
    assert torch.equal(*found) and 20 < (found[0] > 0).sum() < 77


def test_with_dropout_all_ranks_still_have_one_loss(steps):
    for way in split.WAYS:
        one, two = (said["dropout", way] for said in steps)
        assert one == two
