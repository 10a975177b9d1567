"""What a checkpoint must hold: whatever is left out changes the run."""

import pytest
import torch

from llmnotes.parallel.checkpointing import Checkpoints
from llmnotes.parallel.data_parallel import run
from tests.parallel.checkpointing import small
from tests.parallel.checkpointing.forgetting import FORGET, interrupted


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return small.go(tmp_path_factory.mktemp("whole"))


def test_with_all_of_it_the_run_goes_on_as_if_never_stopped(tmp_path, whole):
    assert interrupted(tmp_path, 5) == whole


def test_without_the_moments_the_first_update_is_another(tmp_path, whole):
    read, losses, state = interrupted(tmp_path, 5, "moments")
    assert read == whole[0] and losses[:6] == whole[1][:6]
    assert losses[6] != whole[1][6] and state != whole[2]


def test_without_the_step_the_run_is_longer(tmp_path, whole):
    read, losses, _ = interrupted(tmp_path, 5, "step")
    assert len(losses) == 5 + small.STEPS
    assert losses[: small.STEPS] == whole[1]


def test_without_the_generator_dropout_is_that_of_the_beginning(
    tmp_path, whole
):
    read, losses, _ = interrupted(tmp_path, 5, "generator")
    assert read == whole[0] and losses[:5] == whole[1][:5]
    assert losses[5] != whole[1][5]


def test_without_the_position_examples_are_read_again(tmp_path, whole):
    read, losses, _ = interrupted(tmp_path, 5, "examples")
    assert read[5:] == whole[0][:4] != whole[0][5:]
    assert losses[5] != whole[1][5]


def test_without_the_scheduler_the_rate_is_warmed_up_again(tmp_path, whole):
    read, losses, state = interrupted(tmp_path, 5, "scheduler")
    assert read == whole[0] and losses[:6] == whole[1][:6]
    assert losses[6] != whole[1][6]
    assert state["scheduler"]["last_epoch"] == 4


def test_each_state_is_among_those_that_were_left_out():
    training = small.fresh()
    small.step(training)
    assert set(FORGET) == training.facts().keys()


def test_two_stops_in_an_epoch_and_one_in_the_next(tmp_path, whole):
    where = tmp_path / "run"
    found = [small.go(where, steps, 1) for steps in (2, 4, 7, 9)]
    assert sum((read for read, *_ in found), []) == whole[0]
    assert sum((losses for _, losses, _ in found), []) == whole[1]
    assert found[-1][2] == whole[2]
    epochs = [n for read in whole[0] for n in read]
    first = epochs[: small.EXAMPLES]
    assert sorted(first) == list(range(small.EXAMPLES))
    assert epochs[small.EXAMPLES :] != first[: len(epochs) - len(first)]


@pytest.mark.parametrize(("first", "second"), [(2, 4), (3, 1)])
def test_on_another_number_of_ranks_it_ends_in_the_same_bits(
    processes, tmp_path, whole, first, second
):
    begun = run(small.go, first, tmp_path, 5, 5, processes=processes)
    ended = run(small.go, second, tmp_path, processes=processes)
    for rank in ended:
        assert begun[0][0] + rank[0] == whole[0]
        assert begun[0][1] + rank[1] == whole[1]
        assert rank[2] == whole[2]


def test_moments_come_back_under_the_names_of_their_weights(tmp_path):
    """The list in another order would give each weight another's moments."""
    training = small.fresh()
    small.step(training)
    where = Checkpoints(tmp_path)
    small.save(where, training)
    other = small.fresh(1)
    (group,) = other.optimizer.param_groups
    group["params"].reverse()
    other.put(*where.tensors())
    assert small.state(other)["moments"] != {}
    theirs, ours = other.tensors(), training.tensors()
    assert all(torch.equal(theirs[name], x) for name, x in ours.items())


def test_by_position_moments_go_to_other_weights_without_a_word():
    """PyTorch's own state_dict: gradients +1 and −1, the list turned."""
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    adam = torch.optim.Adam(weights)
    for weight, sign in zip(weights, (1, -1), strict=True):
        weight.grad = torch.full((2,), float(sign))
    adam.step()
    other = torch.optim.Adam(weights[::-1])
    other.load_state_dict(adam.state_dict())
    moments = other.state[weights[1]]["exp_avg"]
    assert torch.allclose(moments, torch.full((2,), 0.1))  # not −0.1


def test_another_optimizers_state_is_refused(tmp_path):
    training = small.fresh()
    small.step(training)
    other = small.fresh()
    other.optimizer = torch.optim.SGD(other.model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="optimizer: got SGD, expected Adam"):
        other.put(training.tensors(), training.facts())
