"""What does not fit is refused when it is made, by name."""

import pytest
import torch

from llmnotes.parallel.data_parallel import RankError, run
from llmnotes.parallel.tensor_parallel import Split, parameters, traffic
from tests.parallel.tensor_parallel import split

ON_THREE = {
    "heads": "ranks: got 3, expected a divisor of n_head = 5",
    "width": "ranks: got 3, expected a divisor of the MLP's width = 16",
    "keys": "ranks: got 3, expected a divisor or a multiple of "
    "num_key_value_heads = 2",
    "queries": "ranks: got 3, expected a divisor of num_attention_heads = 4",
    "vocab": "ranks: got 3, expected 1 to vocab = 2: every rank holds a token",
    "gathered": "logits: got 8 tokens, expected {share}: rank {rank}'s share "
    "of vocab = 8 on 3 ranks",
    "targets": "targets: got 0 to 9, expected 0 to 8",
    "ignored": "targets: got -1 to 0, expected 0 to 8",
    "shape": "targets: got shape (2,), expected that of logits without the "
    "last axis: (3,)",
    "length": "ranks: got 3, expected a divisor of length = 5",
    "scattered": "x: got length 5 along axis 1, expected a multiple of the "
    "3 ranks",
    "model": "dense: got GPT1, expected a GPT",
    "ids": "ids: got 29 to 29, expected 0 to 28",
    "long": "ids: got length 18, expected at most n_positions = 17",
    "gradients": "model: got no gradients, expected some: backward()?",
}


@pytest.fixture(scope="module")
def said(processes):
    """The messages of three ranks."""
    return run(split.refusals, 3, processes=processes)


@pytest.mark.parametrize("what", ON_THREE)
def test_what_does_not_fit_three_ranks_is_refused(said, what):
    for rank in range(3):
        share = (3, 3, 2)[rank]
        right = ON_THREE[what].format(rank=rank, share=share)
        assert said[rank][what] == right


def test_an_error_on_a_rank_says_which(processes):
    with pytest.raises(RankError, match="rank 0 of 3.*n_head = 5"):
        run(split.impossible, 3, processes=processes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: traffic(1, 1, 1, 0), "ranks: got 0, expected at least 1"),
        (lambda: parameters(1, -1, 1, 1), "hidden: got -1, expected at least"),
    ],
)
def test_formulas_refuse_what_is_no_count(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_splits_copy_nothing_of_more_ranks_than_there_are_columns():
    assert Split(0).own(torch.arange(2), 2, 3).tolist() == []
