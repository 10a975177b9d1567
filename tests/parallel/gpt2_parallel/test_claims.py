"""What the page concludes from its results."""

import pytest

from tests.claims import claimed

HERE = "parallel/gpt2_parallel"


def test_two_blocks_are_enough_for_two_threads_and_not_for_four():
    table = claimed(
        f"{HERE}:graph",
        "Two blocks are enough for two threads, and not for four: their span "
        "allows {{ parallel/gpt2_parallel:graph[blocks=2].most | .2f }} "
        "times the speed of one.",
    )
    assert 2 < table("most", blocks=2) < 4


def test_with_one_block_only_the_halves_are_side_by_side():
    table = claimed(
        f"{HERE}:graph",
        "With one block there is nothing side by side but the halves, a "
        "third of the work.",
    )
    assert 1 - 1 / table("most", blocks=1) == pytest.approx(1 / 3, abs=0.01)
    assert len(set(table.every("work"))) == 1


def test_the_table_of_tokens_is_a_third_and_leaves_last():
    table = claimed(
        f"{HERE}:stretches",
        "Its gradient is whole after the very last call, and it is a third "
        "of the model.",
        "As expected; 32 % of all numbers leave when nothing is left to "
        "compute beside them.",
    )
    numbers, calls = table.every("numbers"), table.every("call")
    late = sum(n for n, c in zip(numbers, calls, strict=True) if c == 124)
    assert round(100 * late / sum(numbers)) == 32
    assert calls == sorted(calls)
    assert max(calls) == 124
    assert 0.29 < max(numbers) / sum(numbers) < 0.35


def test_ranks_send_the_formulas_bytes_either_way():
    table = claimed(
        f"{HERE}:sent",
        "It sends as much as the first way and does the update once instead "
        "of $N$ times",
    )
    assert table.every("sent") == table.every("formula")
    for ranks in (1, 2, 4):
        ways = [table("sent", way=way, ranks=ranks)
                for way in ("replicas", "shards")]  # fmt: skip
        assert ways[0] == ways[1]


def test_six_ways_have_three_equal_pairs():
    table = claimed(
        f"{HERE}:bits",
        "The eleven pairs that are left out have nothing in common but tasks "
        "and processes, whose activations are equal.",
        "Ranks compute each row as one process does, so activations are "
        "equal; a gradient is the sum of two sums",
    )
    firsts = table.every("first")
    assert len(firsts) - firsts.count("numba serial") == 11
    assert table("gradients", first="numba serial", second="tasks") == "equal"
    pair = dict(first="tasks", second="processes")
    assert table("activations", **pair) == "equal"
    assert table("gradients", **pair) == "no"
    equal = [x for w in ("activations", "gradients", "parameters")
             for x in table.every(w)]  # fmt: skip
    assert equal.count("equal") == 5
