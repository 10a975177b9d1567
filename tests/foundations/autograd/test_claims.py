"""What the page concludes from the autograd chapter's trained models."""

import statistics

from tests.claims import claimed

DIGITS = "foundations/autograd:digits"
HIDDEN, NONE = {"hidden": "256"}, {"hidden": "none"}


def test_ten_splits_and_their_mean():
    table = claimed(
        DIGITS,
        "One split of so few digits is luck to a degree, so here are ten",
    )
    for kind in (HIDDEN, NONE):
        splits = [table("test", split=i, **kind) for i in range(10)]
        mean = table("test", split="mean", **kind)
        assert abs(statistics.mean(splits) - mean) < 1e-9
        assert max(splits) - min(splits) > 0.01


def test_the_splits_not_looked_at_came_out_no_worse():
    table = claimed(DIGITS, "the last five, not looked at, came out no worse.")
    test = [table("test", split=i, **HIDDEN) for i in range(10)]
    assert statistics.mean(test[5:]) >= statistics.mean(test[:5])


def test_without_a_hidden_layer_it_has_not_finished_learning():
    table = claimed(
        DIGITS,
        "Without one we expected 96 % and got",
        "so it has not finished learning",
    )
    mean = {"split": "mean"}
    assert table("test", **NONE, **mean) < 0.96
    assert table("train", **NONE, **mean) < 0.95
    assert table("train", **HIDDEN, **mean) > 0.999
    assert table("test", **HIDDEN, **mean) > 0.97


def test_the_nodes_explain_most_of_plain_pythons_time():
    table = claimed(
        "foundations/autograd:step",
        "The nodes explain most of it",
        "Either way it is Python's price, tens of microseconds",
    )
    plain = {"who": "plain Python"}
    ours = {"who": "our Tensor", "dtype": "float64"}
    nodes = table("nodes", **plain) / table("nodes", **ours)
    price = table("per_node", **plain) / table("per_node", **ours)
    assert nodes > 10 * price > 10
    for row in (plain, ours):
        assert 1e-5 < table("per_node", **row) < 1e-4


def test_torch_takes_longer_and_derivatives_by_hand_less():
    table = claimed(
        "foundations/autograd:step",
        "a torch call, through its dispatcher, costs more than a NumPy call "
        "with our Python around it.",
        "The rows of NumPy by hand show what an engine costs at all.",
    )
    for dtype in ("float64", "float32"):
        for text in ("the same text", "nn.Linear and SGD"):
            assert (
                table("times_ours", who=f"torch with {text}", dtype=dtype) > 1
            )
        by_hand = "NumPy with derivatives by hand"
        assert table("times_ours", who=by_hand, dtype=dtype) < 0.5


def test_a_compiled_step_overtakes_ours_and_an_eager_function_is_slowest():
    table = claimed(
        "foundations/autograd:step",
        "it makes a few loops in C++ of it, and overtakes ours by far.",
        "Eager, that same function is the slowest way to write it in torch.",
    )
    for dtype in ("float64", "float32"):
        compiled = {"who": "torch, the step compiled", "dtype": dtype}
        assert table("times_ours", **compiled) < 0.8
        eager = table(
            "seconds", who="torch, the step as one function", dtype=dtype
        )
        for text in ("the same text", "nn.Linear and SGD"):
            who = f"torch with {text}"
            assert table("seconds", who=who, dtype=dtype) < eager


def test_the_nearest_digit_is_a_rival():
    table = claimed(
        "foundations/autograd:nearest",
        "And the plainest rival first: of our digits, the nearest",
    )
    right = table("right", split="all") / 3600
    assert right > claimed(DIGITS)("test", split="mean", **HIDDEN) - 0.01


def test_going_back_adds_several_times_what_was_predicted():
    table = claimed(
        "foundations/autograd:cost",
        "several times what we predicted. The order is a trifle of that",
    )
    bare, pulled, order = (
        table("per_node", part=part)
        for part in (
            "backward with arrays only",
            "backward ordered and pulled",
            "of that the order",
        )
    )
    assert pulled - bare > 3 * 2e-6
    assert order < (pulled - bare) / 4


def test_what_is_paid_per_node_fades_as_arrays_grow():
    table = claimed(
        "foundations/autograd:sizes",
        "All this is per node and not per number, so it fades as the arrays "
        "grow",
        "At 10,000 torch takes half the time of both others",
        "our Tensor takes about 1.4 times as long.",
    )
    ours, torch, hand = (
        {n: table("seconds", who=who, points=n) for n in (10, 10**4, 10**5)}
        for who in ("our Tensor", "torch", "NumPy by hand")
    )
    assert ours[10] / hand[10] > 2 > 1.5 > ours[10**5] / hand[10**5] > 1.3
    assert max(torch[10**4] / other[10**4] for other in (ours, hand)) < 0.6
