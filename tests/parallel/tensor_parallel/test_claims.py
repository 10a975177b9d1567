"""What the page concludes from its tables."""

from tests.claims import claimed

CALLS = "parallel/tensor_parallel:calls"
KEPT = "parallel/tensor_parallel:kept"
MISTAKES = "parallel/tensor_parallel:mistakes"
SIZES = "parallel/tensor_parallel:sizes"


def test_what_is_sent_beyond_the_formula_are_gradients_of_vectors():
    calls = claimed(
        CALLS,
        "What sequence parallelism sends beyond the formula are gradients of "
        "norms and biases, 6h numbers, which do not grow with the text.",
    )
    for ranks in (1, 2, 3, 4):
        formula = calls("formula", way="tensor", ranks=ranks)
        assert calls("sent", way="tensor", ranks=ranks) == formula
        more = calls("sent", way="+ sequence", ranks=ranks) - formula
        assert more == 2 * 6 * 24 * (ranks - 1) / ranks


def test_two_gathered_inputs_stay_whole():
    kept = claimed(
        KEPT,
        "A block of ours keeps 17 times $bsh$ numbers and a few more. On four "
        "ranks sequence parallelism brings it below 6; a quarter would be "
        "4.3.",
    )
    bsh = 2 * 48 * 96
    assert 17 < kept("kept", way="tensor", ranks=1) / bsh < 17.2
    assert 4.25 < kept("kept", way="tensor", ranks=1) / bsh / 4 < 4.35
    for ranks in (1, 2, 3, 4):
        whole = kept("kept", way="+ sequence", ranks=1) / ranks
        assert kept("kept", way="+ sequence", ranks=ranks) - whole == (
            2 * bsh * (ranks - 1) / ranks
        )
    assert kept("kept", way="+ sequence", ranks=4) / bsh < 6


def test_four_of_seven_mistakes_change_no_output():
    found = claimed(
        MISTAKES,
        "Four of these seven mistakes have the right output and wrong "
        "gradients.",
    )
    outputs = found.every("output")
    assert len(outputs) == 8 and sum(x < 1e-13 for x in outputs) == 5


def test_all_fifteen_models_have_the_size_that_is_printed():
    sizes = claimed(
        SIZES,
        "All fifteen models of Megatron's two papers",
    )
    printed, formula = sizes.every("printed"), sizes.every("formula")
    assert len(printed) == 15
    assert all(
        abs(p - f) < 0.06 for p, f in zip(printed, formula, strict=True)
    )
