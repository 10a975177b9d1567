"""What the page concludes from what was counted."""

import pytest

from tests.claims import claimed


def test_attention_has_kept_as_much_after_38_tokens():
    table = claimed(
        "models/mamba:context",
        "From there on attention's memory grows, and [each new "
        "token](kv_cache.md) has to read all of it; Mamba's state has its",
    )
    token = table("bytes", kind="cache", context=16) / 16
    state = table("bytes", kind="state", context=16)
    assert token * 37 < state <= token * 38
    assert table("bytes", kind="state", context=16384) == state


def test_compiled_needs_about_what_goes_in_and_comes_out():
    table = claimed(
        "models/mamba:memory",
        "Expected some tens of times for the tree and for the loop; it is 19 "
        "and 5. Compiled, about as much as goes in and comes out.",
    )
    assert table("ratio", form="tree", length=512) == pytest.approx(19, abs=1)
    assert table("ratio", form="loop", length=512) == pytest.approx(5, abs=0.5)
    assert table("ratio", form="compiled", length=512) < 1.2


def test_the_delta_rule_loses_the_first_and_wins_the_second():
    table = claimed(
        "models/mamba:pairs",
        "The delta rule loses the first and wins the second.",
    )
    delta, linear = "delta rule at full strength", "linear attention"
    fresh = table("pairs_128", memory=delta), table("pairs_128", memory=linear)
    assert fresh[0] < fresh[1] - 0.3
    anew = "overwritten"
    assert table(anew, memory=delta) > table(anew, memory=linear) + 0.3


def test_a_quarter_of_the_strength_has_nearly_both():
    table = claimed(
        "models/mamba:pairs", "A strength of a quarter has nearly both."
    )
    quarter, linear = "delta rule at a quarter", "linear attention"
    assert table("overwritten", memory=quarter) > 0.98
    lost = table("pairs_128", memory=linear) - table(
        "pairs_128", memory=quarter
    )
    assert lost < 0.05


def test_a_decay_leaves_the_last_seventy_tokens():
    table = claimed(
        "models/mamba:pairs",
        "And a decay, by itself, is a horizon: at 0.98 the last seventy or so "
        "are left.",
    )
    left = 512 * table("pairs_512", memory="RetNet or Mamba-2 at 0.98")
    assert 60 < left < 80


def test_no_state_holds_512_pairs_and_attention_does():
    table = claimed("models/mamba:pairs", "Attention holds all, and pays with")
    assert table("pairs_512", memory="attention") == 1
    assert table("pairs_512", memory="best matrix") < 0.5


def test_79_places_are_lost():
    table = claimed(
        "models/mamba:overflow", "At the 178th token $e^{89}$ ends float32."
    )
    assert table("lost", fade=-0.5) == 256 - 178 + 1


def test_s4d_keeps_a_pair_or_two():
    table = claimed(
        "models/mamba:pairs", "S4D keeps a pair or two of any number."
    )
    for count in (64, 128, 256, 512):
        assert 0.5 < count * table(f"pairs_{count}", memory="S4D") < 2.5


def test_the_lstm_keeps_more_than_half_of_64():
    table = claimed(
        "models/mamba:pairs", "the LSTM's gates keep more than we thought."
    )
    lstm = "LSTM with gates set by hand"
    assert 0.5 < table("pairs_64", memory=lstm) < 0.8


def test_the_compiled_scan_is_58_times_as_quick_there_and_back():
    table = claimed(
        "models/mamba_speed:scan",
        "There and back the compiled scan is 58 times as quick, as expected; "
        "forward it is 13.6 times, where we asked for 15.",
        "level with it, and ahead there and back",
    )
    both, ahead = "forward and backward", "forward"
    assert round(table("ratio", way=both, form="compiled")) == 58
    assert round(table("ratio", way=ahead, form="compiled"), 1) == 13.6
    assert abs(table("ratio", way=ahead, form="tree, PyTorch") - 1) < 0.05
    assert table("ratio", way=both, form="tree, PyTorch") > 2


def test_mamba_is_flat_and_the_llama_takes_three_times_as_long():
    table = claimed(
        "models/mamba_speed:decoding",
        "As expected, Mamba is flat, within 2 %. The Llama takes 3.3 times as "
        "long at 16,384 tokens as at 64.",
        "The Llama's is below it up to 1,024 tokens, rises from there on, "
        "crosses it before 4,096",
    )
    flat = table.every("seconds", model="Mamba")
    assert max(flat) / min(flat) < 1.02
    grown = table.every("seconds", model="Llama")
    assert round(grown[-1] / grown[0], 1) == 3.3
    below = [a < b for a, b in zip(grown, flat, strict=True)]
    assert below == [True, True, True, False, False]
