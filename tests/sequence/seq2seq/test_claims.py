"""What the page concludes from the sequence-to-sequence results."""

import pytest

from tests.claims import claimed

LENGTH = "sequence/seq2seq:length"
NARROW = "without attention, 64 wide"
WIDE = "without attention, 128 wide"
LUONG = "Luong's attention, 64 wide"


def exact(table, model, length):
    return table("exact", model=model, length=length)


def first_below(table, model, share):
    lengths = table.every("length", model=model)
    return next(n for n in lengths if exact(table, model, n) < share)


def test_sixteen_symbols_never_get_through_64_numbers():
    table = claimed(LENGTH, "and sixteen never.")
    assert exact(table, NARROW, 16) == 0
    assert exact(table, NARROW, 6) > 0.9


def test_twice_the_width_moves_the_wall_by_two_to_three_symbols():
    table = claimed(
        LENGTH,
        "twice the width, which is nearly four times the parameters, moves "
        "the wall by two to three symbols.",
        "It is eight",
    )
    assert first_below(table, NARROW, 0.9) == 8
    assert first_below(table, WIDE, 0.9) == 10
    half = [first_below(table, m, 0.5) for m in (NARROW, WIDE)]
    assert 2 <= half[1] - half[0] <= 4
    parameters = [
        table.every("parameters", model=m)[0] for m in (WIDE, NARROW)
    ]
    assert 3.5 < parameters[0] / parameters[1] < 4


def test_with_attention_all_trained_lengths_stand_and_longer_ones_fall():
    table = claimed(
        LENGTH,
        "Long sequences do not get through one vector; with attention they "
        "need not.",
        "Beyond 20 symbols, which no model has seen, attention fails too",
    )
    assert all(exact(table, LUONG, n) > 0.95 for n in range(2, 21, 2))
    falls = [exact(table, LUONG, n) for n in (20, 22, 24, 26)]
    assert falls == sorted(falls, reverse=True)
    assert falls[-1] == 0


def most(table, model, written):
    """The place in the source that a written character takes most from."""
    where = {"model": model, "written": written}
    weights = table.every("weight", **where)
    return table.every("read", **where)[weights.index(max(weights))]


@pytest.mark.parametrize(
    "model", ["Luong's attention", "Bahdanau's attention"]
)
def test_what_is_written_is_looked_up_where_it_stands(model):
    table = claimed(
        "sequence/seq2seq:alignment",
        "The year is read at its last digits, and each digit only when it is "
        "due: `6` is written while looking at the 6. The month is looked up "
        "in March, and the second digit of the day at the 3.",
        "the first `2` of the year takes most from the 0",
    )
    march = {"11 M", "12 a", "13 r", "14 c", "15 h"}
    assert most(table, model, "4 6") == "20 6"
    assert {most(table, model, month) for month in ("6 0", "7 3")} <= march
    assert most(table, model, "10 3") == "9 3"
    assert most(table, model, "1 2") == "18 0"


def test_luongs_model_writes_the_days_0_looking_at_the_space_after_the_3():
    table = claimed(
        "sequence/seq2seq:alignment",
        "Luong's model writes the first, a 0, while looking at the space "
        "*after* the 3",
    )
    assert most(table, "Luong's attention", "9 0") == "10 ␣"


def test_a_wider_beam_finds_likelier_and_shorter_targets_by_a_little():
    table = claimed(
        "sequence/seq2seq:beams",
        "As predicted, the wider beam finds targets that are likelier and "
        "shorter, and with $\\alpha = 1$ they are not shorter. But the effect "
        "is small, a quarter of a symbol",
    )
    plain = [
        (table("length", beam=b, alpha=0.0), table("score", beam=b, alpha=0.0))
        for b in (1, 4, 16)
    ]
    lengths, scores = zip(*plain, strict=True)
    assert list(lengths) == sorted(lengths, reverse=True)
    assert list(scores) == sorted(scores)
    assert lengths[0] - lengths[-1] == pytest.approx(0.25, abs=0.1)
    assert table("length", beam=16, alpha=1.0) >= lengths[0]


DATES = "sequence/seq2seq:dates"
WITHOUT = ("without attention", "two ways without attention")


def test_read_both_ways_the_two_attentions_tie():
    table = claimed(
        DATES,
        "Bahdanau's model gets every day right that it has never seen, in "
        "every seed.",
        "all of them: the two ties. So what the one had over the other was "
        "the encoder.",
    )
    for model in ("Bahdanau's attention", "two ways with Luong's"):
        assert table("lowest", model=model) == 1
    assert 0.95 < table("lowest", model="Luong's attention") < 1


def test_without_attention_the_seeds_differ_more_than_anything_else():
    table = claimed(
        DATES,
        "where the seeds differ more than anything else.",
        "Without attention nothing can be relied on",
        "an encoder that reads both ways leaves that as it is",
        "A beam of four changes nothing where a model is sure, and little "
        "where it is not.",
    )
    for model in WITHOUT:
        low, high = (table(c, model=model) for c in ("lowest", "highest"))
        assert high - low > 0.5
        assert high < table("lowest", model="Luong's attention") - 0.2
    for model in table.every("model"):
        gain = table("beam", model=model) - table("greedy", model=model)
        assert abs(gain) < 0.03


def test_tokens_look_nearly_there_and_dates_are_not():
    table = claimed(DATES, "That sounds like models that are nearly there.")
    for model in WITHOUT:
        assert table("tokens", model=model) > 0.85
        assert table("greedy", model=model) < 0.5


def test_the_form_year_and_month_are_right_and_the_day_is_lost():
    table = claimed(
        "sequence/seq2seq:answers",
        "The form is always right, and so are year and month in these. What "
        "is lost is the day",
        "several of the wrong days are not even near",
    )
    right = table.every("bahdanau")
    assert table.every("luong") == right
    far = 0
    for said, day in zip(table.every("without"), right, strict=True):
        assert said[:8] == day[:8] and said[8:] != day[8:]
        far += abs(int(said[8:]) - int(day[8:])) >= 7
    assert far >= 3


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
