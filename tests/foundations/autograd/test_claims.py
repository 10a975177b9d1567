"""What the page concludes from the autograd chapter's trained models."""

import statistics

from tests.claims import claimed

DIGITS = "foundations/autograd:digits"
COLUMNS = ("lowest", "highest")
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


def test_a_hidden_layer_is_ahead_on_the_same_splits_and_32_units_are_not():
    table = claimed(
        DIGITS,
        "in none of the ten is the network without a hidden layer ahead",
        "about one digit in a hundred",
        "Between 32 units and none the ten splits do not decide.",
    )
    wide, narrow, none = (
        [table("test", split=i, hidden=h) for i in range(10)]
        for h in ("256", "32", "none")
    )
    gains = [a - b for a, b in zip(wide, none, strict=True)]
    assert min(gains) >= 0 and 0.005 < statistics.mean(gains) < 0.015
    small = [a - b for a, b in zip(narrow, none, strict=True)]
    assert min(small) < 0 < max(small)
    assert max(wide) - min(wide) > statistics.mean(gains)


def test_the_fewer_the_weights_the_higher_the_best_rate():
    table = claimed(DIGITS, "the fewer the weights, the larger each must")
    best = [
        table("rate", split="mean", hidden=h) for h in ("256", "32", "none")
    ]
    assert best == sorted(best) and len(set(best)) == 3


def test_the_splits_differ_by_more_than_was_expected():
    table = claimed(DIGITS, "splits differ by more than the one point")
    for hidden in ("256", "32", "none"):
        ends = (table(c, split="mean", hidden=hidden) for c in COLUMNS)
        low, high = ends
        assert high - low > 0.01
    expected = {"none": 0.965, "32": 0.97, "256": 0.98}
    for hidden, share in expected.items():
        got = table("test", split="mean", hidden=hidden)
        assert abs(got - share) < 0.0065


def test_the_nodes_explain_most_of_plain_pythons_time():
    table = claimed(
        "foundations/autograd:step",
        "The nodes explain most of it",
        "Either way it is Python's price, microseconds to tens of them",
    )
    plain = {"who": "plain Python"}
    ours = {"who": "our Tensor", "dtype": "float64"}
    nodes = table("nodes", **plain) / table("nodes", **ours)
    price = table("per_node", **plain) / table("per_node", **ours)
    assert nodes > 10 * price > 10
    for row in (plain, ours):
        assert 5e-6 < table("per_node", **row) < 1e-4


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
