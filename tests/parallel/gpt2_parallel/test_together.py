"""One step, six ways: which pairs have the same bits, and the errors."""

import itertools

import numpy as np
import pytest

from tests.parallel.gpt2_parallel import golden

EQUAL = {
    ("numba serial", "tasks"): {"activations", "gradients", "parameters"},
    ("numba serial", "processes"): {"activations"},
    ("tasks", "processes"): {"activations"},
}


@pytest.fixture(scope="module")
def ways(processes):
    return golden.all_ways(processes)


def test_these_pairs_and_no_others_are_equal_to_the_bit(ways):
    for pair in itertools.combinations(golden.WAYS, 2):
        a, b = (ways[way] for way in pair)
        found = {
            what
            for what, names in golden.groups().items()
            if golden.equal(a, b, names)
        }
        assert found == EQUAL.get(pair, set()), pair


def test_all_are_as_exact_as_float32_allows(ways):
    for way in golden.WAYS:
        for name in golden.exact():
            if name in golden.groups()["parameters"]:
                continue
            assert golden.error(ways[way], name) < 4e-6, (way, name)


def test_only_the_biases_of_keys_move_by_the_whole_rate(ways):
    width = golden.SHAPE.n_embd
    for way in golden.WAYS:
        for name in golden.groups()["parameters"]:
            apart = np.abs(ways[way][name] - golden.exact()[name])
            if name == "qkvb":
                keys = apart[:, width : 2 * width]
                assert keys.max() > golden.RATE / 10
                keys[...] = 0
            assert apart.max() < golden.RATE / 50, (way, name)


def test_fork_join_has_the_same_bits_with_one_thread_and_two(ways):
    one = golden.forked(1)
    for names in golden.groups().values():
        assert golden.equal(one, ways["fork-join"], names)
