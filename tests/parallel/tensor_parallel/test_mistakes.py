"""Each mistake is seen, and four of seven not in any output."""

import pytest

from llmnotes.parallel.data_parallel import run
from tests.parallel.tensor_parallel import mistakes

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
