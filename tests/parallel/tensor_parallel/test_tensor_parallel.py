"""PyTorch's DTensor finds the same; mistakes are seen; misfits are refused."""

import pytest
import torch

from llmnotes.parallel.data_parallel import RankError, run
from llmnotes.parallel.tensor_parallel import Split, parameters, traffic
from tests.parallel.tensor_parallel import mistakes, split, witness

RANKS = (2, 3)


@pytest.fixture(scope="module")
def compared(processes):
    """{ranks: what the first of them found}."""
    return {
        ranks: run(witness.compared, ranks, ranks, processes=processes)
        for ranks in RANKS
    }


@pytest.mark.parametrize("way", witness.PLANS)
@pytest.mark.parametrize("ranks", RANKS)
def test_outputs_and_gradients_are_those_of_parallelize_module(
    compared, ranks, way
):
    for said in compared[ranks]:
        apart, *_ = said[way]
        assert len(apart) == 8
        assert all(error < 1e-13 for error in apart.values()), apart


@pytest.mark.parametrize("ranks", RANKS)
def test_it_asks_for_one_all_reduce_each_way(compared, ranks):
    for said in compared[ranks]:
        _, forward, backward, _ = said["replicated"]
        assert forward == backward == {"all-reduce": 1}


@pytest.mark.parametrize("ranks", RANKS)
def test_with_sequence_parallelism_for_one_gather_and_one_scatter(
    compared, ranks
):
    for said in compared[ranks]:
        _, forward, backward, _ = said["pieces"]
        assert forward == backward == {"all-gather": 1, "reduce-scatter": 1}


@pytest.mark.parametrize("ranks", RANKS)
def test_its_norms_keep_summands_until_asked_for_all(compared, ranks):
    for said in compared[ranks]:
        *_, own = said["pieces"]
        assert own > 0.1  # `to_local()`; `full_tensor()` is compared above


@pytest.mark.parametrize("ranks", RANKS)
def test_losses_over_a_split_vocabulary_are_those_of_loss_parallel(
    compared, ranks
):
    for said in compared[ranks]:
        loss, gradient, calls = said["loss"]
        assert loss < 1e-14 and gradient < 1e-15
        assert calls == {"all-reduce": 3}  # ours asks for two


UNSEEN = {
    "no all-reduce of f",
    "g summed again on the way back",
    "bias / t added on every rank",
    "norms' gradients not summed",
}


@pytest.fixture(scope="module")
def found(processes):
    """Relative errors of output and gradients, by mistake."""
    return run(mistakes.all_of_them, 2, processes=processes)[0]


def test_without_a_mistake_there_is_no_error(found):
    assert max(found["none"]) < 1e-13


def test_four_mistakes_change_no_output(found):
    unseen = {name for name, (out, _) in found.items() if out < 1e-13}
    assert unseen == UNSEEN | {"none"}


def test_every_mistake_changes_an_output_or_a_gradient(found):
    for name, errors in found.items():
        assert name == "none" or max(errors) > 0.05
    assert found["bias added on every rank"][1] < 1e-13


def test_a_sum_too_many_doubles_and_a_share_halves(found):
    doubled = found["g summed again on the way back"][1]
    assert doubled == pytest.approx(1.0)
    assert found["bias / t added on every rank"][1] == pytest.approx(0.5)


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
    "weights": "dense: got others than another rank has, expected the same "
    "on all 3 ranks",
    "others": "ids: got others than another rank has, expected the same on "
    "all 3 ranks",
    "longer": "ids: got others than another rank has, expected the same on "
    "all 3 ranks",
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
    with pytest.raises(RankError, match="rank 0 failed with Val.*n_head = 5"):
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
