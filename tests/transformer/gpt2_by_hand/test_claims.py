"""What the page concludes from its results."""

import pytest

from llmnotes.transformer.gpt2_by_hand import padded
from tests.claims import claimed


def test_a_step_has_four_arenas_like_the_first_and_two_like_the_second():
    table = claimed(
        "transformer/gpt2_by_hand:memory",
        "So a step has four arenas like the first and two like the second, "
        "and nothing else:",
    )
    *arenas, total = table.every("numbers")
    assert len(arenas) == 6 and total == sum(arenas)
    assert arenas[:4] == [arenas[0]] * 4 and arenas[4] == arenas[5]
    model = claimed("transformer/gpt2_by_hand:parameters")
    acts = claimed("transformer/gpt2_by_hand:activations")
    assert sum(model.every("numbers")) == arenas[0]
    assert sum(acts.every("numbers")) == arenas[4]


def test_the_process_grows_by_what_the_map_says():
    table = claimed(
        "transformer/gpt2_by_hand_peak:peak",
        "A process that makes one such step grows by",
    )
    by_map = table("size", count="by the map")
    assert table("size", count="grown at the peak") == pytest.approx(
        by_map, rel=0.02
    )
    assert by_map == claimed("transformer/gpt2_by_hand:memory")(
        "size", arena="all"
    )


def test_llm_cs_readme_tells_the_two_widths_apart():
    table = claimed(
        "transformer/gpt2_by_hand:counts",
        "The total tells them apart, because llm.c's README prints one:",
    )
    right, wrong, wide = table.every("numbers")
    assert right == 73_323_776 != wrong
    assert wide - right == 2 * 4 * 64 * (padded(50_257) - 50_257)


def test_none_of_the_three_is_ahead_in_float32():
    table = claimed(
        "transformer/gpt2_by_hand:golden",
        "In float32 no two programs agree to the bit, since they add in "
        "different orders.",
    )
    worst = [max(table.every(way)) for way in ("numpy", "loops", "torch")]
    assert 10 < min(worst) and max(worst) < min(100, 2.5 * min(worst))


def test_a_small_model_forgets_in_fifty_steps_what_never_comes():
    table = claimed(
        "transformer/gpt2_by_hand_learned:learned",
        "fifty steps forget the tokens that never come, and the rest is slow.",
    )
    first, fifty, *_, last = table.every("held")
    assert first > 10 and fifty < 7.5 and 5.5 < last < 6.5
    assert first - fifty > 3 * (fifty - last)


def test_such_a_model_writes_names_and_line_ends():
    table = claimed(
        "transformer/gpt2_by_hand_learned:sample",
        "A model that has seen 51,200 tokens writes names, commas and line "
        "ends (` / `), and no sentence:",
    )
    (text,) = table.every("text")
    assert text.startswith("ROMEO:") and text.count(" / ") > 3 and "," in text
