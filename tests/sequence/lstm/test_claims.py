"""What the page concludes from the LSTM chapter's trained models."""

import pytest

from tests.claims import claimed

BIAS = "sequence/lstm:forget_bias"
PYTORCH = "PyTorch's"


def test_from_pytorchs_start_nothing_is_learned_about_20_steps():
    table = claimed(
        BIAS,
        "From PyTorch's start nothing is learned about a wait of 20 steps; "
        "from a bias of 4 a wait of 40 is learned by all three seeds.",
    )
    for lag in (20, 40, 80):
        guess = table("recalled", start=PYTORCH, lag=lag)
        assert guess == pytest.approx(0.25, abs=0.02)
    assert table("least", start="forget bias 4", lag=40) > 0.99


def test_at_80_one_of_three_seeds_had_not_got_beyond_a_guess():
    table = claimed(
        BIAS,
        "At 80 we were too hopeful: one of the three had not got beyond a "
        "guess",
    )
    row = {"start": "forget bias 4", "lag": 80}
    assert table("least", **row) == pytest.approx(0.25, abs=0.02)
    assert table("recalled", **row) == pytest.approx(2 / 3, abs=0.1)


def test_where_the_forget_gate_starts_decides():
    table = claimed(
        BIAS,
        "Where the forget gate starts decides how long a wait is learned in "
        "400 steps.",
    )
    for lag in (20, 40, 80):
        by_start = [
            table("recalled", start=start, lag=lag)
            for start in (PYTORCH, "forget bias 1", "forget bias 4")
        ]
        assert by_start == sorted(by_start)
        assert by_start[-1] > by_start[0] + 0.3


def test_pytorchs_start_ends_with_gates_less_open_and_bias_1_is_under_way():
    table = claimed(
        "sequence/lstm:learned",
        "PyTorch's start ends with gates *less* open than it began. Bias 1 is "
        "under way. Bias 4 had nothing to open.",
    )
    gates = {
        start: [table("forget", start=start, when=when, lag=20)
                for when in ("before", "after")]
        for start in (PYTORCH, "forget bias 1", "forget bias 4")
    }  # fmt: skip
    assert gates[PYTORCH][1] < gates[PYTORCH][0]
    assert gates["forget bias 1"][1] > gates["forget bias 1"][0] + 0.05
    assert min(gates["forget bias 4"]) > 0.95
    grown = [
        table("gain", start="forget bias 1", when=when, lag=20)
        for when in ("before", "after")
    ]
    assert grown[1] > 10 * grown[0]


def test_by_hand_hardly_helps_and_one_pass_over_the_numbers_does():
    table = claimed(
        "sequence/lstm:speed",
        "We predicted that this would help most, because 128 small products "
        "for the weights become one. It hardly helps",
        "A gradient by hand is not fast by itself.",
    )
    cell, loop, by_hand, fused = (
        table("per_torch", threads=1, method=method)
        for method in ("cell by cell", "LSTM", "ByHandLSTM", "FusedLSTM")
    )
    assert cell > loop > by_hand > 0.9 * loop
    assert fused < 1.2


def test_by_hand_saves_calls_in_two_cells_and_none_in_the_lstm():
    table = claimed(
        "sequence/lstm_calls:calls",
        "Autograd has one operation for the slope of a sigmoid, and we spell "
        "it out in three; that eats up what the product saves.",
        "the calls fall by more than half",
        "the count does not fall, and the time hardly does.",
    )
    for cell, least, most in (
        ("RNN", 0, 0.5),
        ("GRU", 0, 0.5),
        ("LSTM", 1, 2),
    ):
        by_hand, autograd = (
            table("back", cell=cell, gradient=gradient)
            for gradient in ("by hand", "autograd")
        )
        assert least < by_hand / autograd < most
    assert set(table.every("products", gradient="autograd")) == {2}
    assert set(table.every("products", gradient="by hand")) == {1}


def test_with_two_threads_only_the_products_are_shared_out():
    table = claimed("sequence/lstm:speed", "only the products are shared out")
    one, two = (
        table("per_torch", threads=n, method="FusedLSTM") for n in (1, 2)
    )
    assert two > one


def test_most_of_the_time_cell_by_cell_goes_into_the_way_back():
    table = claimed(
        "sequence/lstm:speed", "Most of its time goes into the way back."
    )
    row = {"threads": 1, "method": "cell by cell"}
    assert table("both", **row) > 2 * table("forward", **row)
