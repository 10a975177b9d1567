"""What the page concludes from the RoPE chapter's trained models."""

import pytest

from tests.claims import claimed

LENGTH = "transformer/rope:length"
BEFORE, AFTER = "before", "after 60 steps at 512"
PLACES = range(32, 513, 32)


def line(table, method, training, places=PLACES):
    return [
        table("loss", method=method, training=training, position=place)
        for place in places
    ]


def level(values, tolerance):
    return max(values) - min(values) < tolerance


def test_plain_rope_reads_on_to_96_and_breaks():
    table = claimed(
        LENGTH,
        "Plain RoPE reads on to position 96, half the trained length more, "
        "and then it breaks",
    )
    values = line(table, "plain", BEFORE)
    assert level(values[:3], 0.1)
    assert values[3] > values[2] + 0.4
    assert values[-1] > values[3] + 0.5


def test_interpolation_is_bad_everywhere_and_yarn_holds_to_the_end():
    table = claimed(
        LENGTH,
        "Interpolation without training is bad everywhere, as predicted.",
        "NTK costs little within 64 and holds until about 160. YaRN holds to "
        "the end.",
    )
    trained = line(table, "plain", BEFORE)[1]
    assert min(line(table, "interpolation", BEFORE)) > trained + 1
    ntk = line(table, "NTK", BEFORE)
    assert max(ntk[:5]) < trained + 0.15  # to 160
    assert ntk[6] > trained + 0.3  # at 224
    assert level(line(table, "YaRN", BEFORE), 0.15)


def test_yarn_leads_only_from_about_200_on():
    table = claimed(
        LENGTH,
        "Within 64, we were wrong about YaRN.",
        "and it leads only from about 200 on",
    )
    leads = [
        place
        for place in PLACES
        if table("loss", method="YaRN", training=BEFORE, position=place)
        == min(table.every("loss", training=BEFORE, position=place))
    ]
    assert leads == [place for place in PLACES if place > 200]


def test_the_lags_break_plain_rope_and_the_scale_does_not_cost_yarn():
    table = claimed(
        "transformer/rope:causes",
        "Yes to the first, no to the second.",
        "at position 512 it reads as well as at 64",
        "The scale makes hardly a difference close by and helps a little far "
        "away",
    )
    window = {"method": "plain, last 64 keys only"}
    assert table("far", **window) < table("near", **window) + 0.03
    assert table("far", method="plain") > table("far", **window) + 1
    yarn, bare = {"method": "YaRN"}, {"method": "YaRN without its scale"}
    assert abs(table("near", **yarn) - table("near", **bare)) < 0.02
    assert 0.01 < table("far", **bare) - table("far", **yarn) < 0.1


def test_after_sixty_steps_yarn_is_level_where_plain_was_within_64():
    table = claimed(
        LENGTH,
        "YaRN reads position 512 as it reads position 64.",
        "We expected all but plain to be level, and only interpolation is too",
        "sixty steps do not teach the model to see with an eighth of the "
        "resolution",
    )
    yarn = line(table, "YaRN", AFTER)
    assert yarn[-1] == pytest.approx(yarn[1], abs=0.03)
    assert yarn[-1] == pytest.approx(line(table, "plain", BEFORE)[1], abs=0.05)
    blurred = line(table, "interpolation", AFTER)
    assert level(blurred, 0.1) and min(blurred) > max(yarn) + 0.4
    assert not level(line(table, "NTK", AFTER), 0.2)


def test_plain_rope_comes_down_after_sixty_steps():
    table = claimed(
        LENGTH,
        "NTK still climbs to",
        "And plain RoPE, which we had written off, comes down from",
    )
    plain, ntk = (line(table, m, AFTER)[-1] for m in ("plain", "NTK"))
    assert plain < line(table, "plain", BEFORE)[-1] - 1
    assert ntk < plain
