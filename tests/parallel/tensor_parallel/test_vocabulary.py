"""Cross-entropy over a split vocabulary is that over the whole one."""

import math

import pytest
import torch
import torch.nn.functional as F

from llmnotes.parallel.tensor_parallel import tokens_of
from tests.parallel.tensor_parallel import split


@pytest.mark.parametrize("scale", split.SCALES)
@pytest.mark.parametrize("ranks", (1, 2, 3, 4))
def test_loss_and_gradient_are_those_of_all_logits(everything, ranks, scale):
    logits = split.logits_for(7, len(split.EDGES), scale).requires_grad_()
    right = F.cross_entropy(logits, torch.tensor(split.EDGES))
    right.backward()
    for each in everything[ranks]:
        said, forward, backward = each["vocabulary", scale]
        assert said["loss"] == pytest.approx(right.item(), rel=1e-14)
        grad = torch.from_numpy(said["gradient"])
        assert (grad - logits.grad).abs().max() < 1e-15
        assert forward == {"all-reduce": 2} and backward == {}


def test_without_a_target_it_is_nan_as_pytorchs(steps):
    for said in steps:
        assert math.isnan(said["nan"][0]["loss"])


def test_by_hand_the_first_ranks_hold_one_token_more():
    assert [len(tokens_of(7, r, 3)) for r in range(3)] == [3, 2, 2]
    assert [tokens_of(5, r, 2) for r in range(2)] == [range(3), range(3, 5)]
    assert [len(tokens_of(50257, r, 2)) for r in range(2)] == [25129, 25128]


def test_shares_are_those_of_tensor_split():
    for vocab in range(4, 12):
        for ranks in range(1, 5):
            parts = torch.arange(vocab).tensor_split(ranks)
            for rank, part in enumerate(parts):
                assert list(tokens_of(vocab, rank, ranks)) == part.tolist()
