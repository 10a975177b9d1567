"""What the page concludes from the positions chapter's trained models."""

import pytest

from tests.claims import claimed

BEYOND = "transformer/positions:beyond"


def loss(table, scheme, position):
    return table("loss", scheme=scheme, position=position)


def test_alibi_does_not_notice_that_the_text_goes_on():
    table = claimed(
        BEYOND,
        "ALiBi does not notice that the text goes on",
        "Beyond 64 positions only ALiBi reads on as if nothing had happened.",
    )
    assert abs(loss(table, "ALiBi", 256) - loss(table, "ALiBi", 64)) < 0.03
    for scheme in ("none", "learned", "sinusoidal", "relative bias"):
        assert loss(table, scheme, 256) > loss(table, scheme, 64) + 0.1


def test_without_positions_slowly_learned_with_a_jump_sinusoids_off_a_cliff():
    table = claimed(
        BEYOND,
        "Without positions the loss climbs slowly",
        "Learned positions jump. Sinusoids fall off a cliff",
        "far above a model without any positions",
    )
    jump = {
        scheme: loss(table, scheme, 80) - loss(table, scheme, 64)
        for scheme in ("none", "learned", "sinusoidal")
    }
    assert jump["none"] < 0.1 < jump["learned"] < 0.4 < jump["sinusoidal"]
    assert loss(table, "sinusoidal", 256) > loss(table, "none", 256) + 0.5


def test_within_64_the_schemes_differ_by_half_a_nat():
    table = claimed(
        BEYOND,
        "We expected a few hundredths between them and found half a nat. "
        "Learned positions gain a tenth over none.",
    )
    at_64 = table.every("loss", position=64)
    assert max(at_64) - min(at_64) == pytest.approx(0.5, abs=0.05)
    gain = loss(table, "none", 64) - loss(table, "learned", 64)
    assert gain == pytest.approx(0.1, abs=0.05)


def test_the_relative_bias_climbs():
    table = claimed(BEYOND, "**The relative bias climbs.**")
    climb = [loss(table, "relative bias", n) for n in (64, 128, 192, 256)]
    assert all(b > a + 0.1 for a, b in zip(climb, climb[1:], strict=False))


def test_the_learned_rows_are_far_from_the_words_and_the_rest_untrained():
    size = claimed(
        "transformer/positions:sizes",
        "Their rows start at 0.02, the words at 1, and after 700 steps they "
        "are still far apart",
        "rows that were never trained are almost zero",
    )
    words = size("size", vectors="words")
    trained = size("size", vectors="positions 0 to 63, trained")
    never = size("size", vectors="positions 64 to 255, never trained")
    assert words > 5 * trained
    assert never == pytest.approx(0.02, abs=2e-3)


def test_a_window_cures_the_relative_bias_and_not_the_sinusoids():
    table = claimed(
        "transformer/positions:window",
        "It does. The relative bias comes back to",
        "The sinusoids stay far above the",
        "Without positions we expected most of the climb to go, and only a "
        "third of it did.",
    )
    bias, waves, none = (
        [table(c, scheme=scheme) for c in ("trained", "far", "window")]
        for scheme in ("relative bias", "sinusoidal", "none")
    )
    assert bias[2] < bias[0] + 0.05
    assert waves[2] > waves[0] + 0.5
    gone = (none[1] - none[2]) / (none[1] - none[0])
    assert gone == pytest.approx(1 / 3, abs=0.07)
