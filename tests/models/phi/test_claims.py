"""What the page concludes from noisy texts and from two blocks."""

import math

from tests.claims import claimed

NOISE = "models/phi:noise"


def test_noise_costs_what_it_must_and_more():
    table = claimed(
        NOISE,
        "The letters cost a little more than we expected, the shuffled lines "
        "about three times as much, and the lines left out as little.",
        "which costs $-\\ln 0.8 = 0.22$ nat.",
    )
    letters = table("cost", text="20 % of the letters")
    assert -math.log(0.8) < 0.3 < letters < 0.37
    for share, expected in ((20, 0.03), (50, 0.1)):
        cost = table("cost", text=f"{share} % of the lines")
        assert 2.5 * expected < cost < 3.5 * expected
    assert table("cost", text="50 % of the lines left out") < 0.02


def test_half_a_text_clean_beats_a_whole_one_half_spoilt():
    table = claimed(
        NOISE,
        "half of the text, clean, teaches nearly what the whole does, and "
        "far more than the whole with the other half spoilt",
    )
    left, spoilt = "50 % of the lines left out", "50 % of the lines"
    assert table("highest", text=left) < table("lowest", text=spoilt)
    assert table("loss", text=left) - table("loss", text="clean") < 0.03


def test_serial_and_parallel_cannot_be_told_apart():
    table = claimed(
        "models/phi:quality", "less apart than two seeds of one kind"
    )
    serial, parallel = (
        table("loss", block=kind) for kind in ("serial", "parallel")
    )
    spread = min(
        table("highest", block=kind) - table("lowest", block=kind)
        for kind in ("serial", "parallel")
    )
    assert abs(serial - parallel) < spread
