"""What the page concludes from training beside validation loss."""

from tests.claims import claimed


def test_few_pairs_turn_near_step_300_and_many_do_not():
    table = claimed(
        "sequence/seq2seq_overfitting:losses",
        "validation turns near step 300, at 0.10, and climbs to 0.27",
        "320 pairs are enough for a validation loss of 0.10, where 0.7 was "
        "expected.",
        "training and validation loss fall together to 0.01",
    )
    few = table.every("loss", curve="few pairs, validation")
    steps = table.every("step", curve="few pairs, validation")
    assert steps[few.index(min(few))] == 300
    assert (round(min(few), 2), round(few[-1], 2)) == (0.10, 0.27)
    assert table.every("loss", curve="few pairs, training")[-1] < 1e-4
    for part in ("training", "validation"):
        curve = table.every("loss", curve=f"many pairs, {part}")
        assert curve[-1] < 0.015
