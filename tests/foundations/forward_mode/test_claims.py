"""What the page concludes from the forward mode chapter's timings."""

from tests.claims import claimed


def test_forward_mode_wins_on_tall_jacobians_and_loses_on_wide_ones():
    table = claimed(
        "foundations/forward_mode:jacobian",
        "They cross between 16 and 32 inputs.",
    )
    wins = [
        inputs
        for inputs in sorted(set(table.every("inputs")))
        if table("seconds", mode="forward", inputs=inputs)
        < table("seconds", mode="reverse", inputs=inputs)
    ]
    assert wins == [1, 4, 16]


def test_the_hessian_times_a_vector_takes_two_gradients_of_work():
    table = claimed(
        "foundations/forward_mode:hessian",
        "The Hessian times a vector takes twice the multiply-adds of a "
        "gradient, for any number of parameters.",
        "The whole Hessian takes 256 of these, one per input",
    )
    product, gradient, whole = (
        {c: table(c, what=what) for c in ("multiply_adds", "seconds")}
        for what in (
            "Hessian times a vector",
            "gradient",
            "Hessian, 256 × 256",
        )
    )
    assert product["multiply_adds"] == 2 * gradient["multiply_adds"]
    assert whole["multiply_adds"] == 256 * product["multiply_adds"]
    assert product["seconds"] > 2 * gradient["seconds"]


def test_going_back_twice_is_worth_two_gradients_and_one_if_recorded():
    table = claimed(
        "foundations/forward_mode:products",
        "Going back twice costs two gradients at both sizes, as expected. "
        "Forward over back is the slowest, as expected, and stays above two "
        "where the arrays are large, which we had not expected.",
        "with `retain_graph=True`, for one gradient each",
    )
    for size in ("small", "large"):

        def worth(what, size=size):
            return table("gradients", size=size, what=what)

        twice = worth("back over back")
        assert 1.5 < twice < 3
        assert 0.5 < worth("back over back, recorded before") < 1.5
        assert worth("forward over back") > twice
        assert worth("forward over back") > 2.5
