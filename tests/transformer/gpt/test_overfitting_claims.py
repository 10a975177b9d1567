"""What the page concludes from training beside validation loss."""

from tests.claims import claimed


def losses(table, curve):
    return table.every("loss", curve=curve)


def test_the_short_text_turns_near_step_800_and_the_long_one_does_not():
    table = claimed(
        "transformer/gpt_overfitting:losses",
        "The turn comes later and higher than expected, near step 800",
        "validation turns near step 800, at 2.46, and climbs to 2.68",
        "fall together and end at 1.77 and 1.92",
        "and both still fall.",
    )
    short = losses(table, "short text, validation")
    steps = table.every("step", curve="short text, validation")
    assert steps[short.index(min(short))] == 800
    assert (round(min(short), 2), round(short[-1], 2)) == (2.46, 2.68)
    assert round(losses(table, "short text, training")[-1], 2) == 1.20
    for part, end in (("training", 1.77), ("validation", 1.92)):
        curve = losses(table, f"long text, {part}")
        assert curve == sorted(curve, reverse=True)
        assert round(curve[-1], 2) == end
