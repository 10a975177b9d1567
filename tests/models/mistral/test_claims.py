"""What the page concludes from the timing of chunks."""

from tests.claims import claimed


def test_chunks_of_128_and_more_are_within_a_fifth():
    table = claimed(
        "models/mistral_speed:chunks",
        "Within 1.2 down to 128 tokens, where 64 was expected; with the "
        "rolling cache a quarter is saved, as expected.",
        "From 256 tokens on both lie below 1.1, the rolling cache lowest, at "
        "three quarters with chunks of 512.",
    )
    for cache in ("all", "window"):
        for chunk in (128, 256, 512, 1024):
            assert table("ratio", cache=cache, chunk=chunk) < 1.2
        for chunk in (256, 512, 1024):
            assert table("ratio", cache=cache, chunk=chunk) < 1.1
        assert table("ratio", cache=cache, chunk=64) > 1.2
    assert round(table("ratio", cache="window", chunk=512), 2) == 0.75


def test_a_word_is_found_within_the_reach_and_no_further():
    table = claimed(
        "models/mistral:retrieval",
        "One layer finds the word up to 7 tokens back, two layers up to 14 "
        "and four up to 28, and one token further they guess.",
        "As expected, but for the end of the reach, where hardly anything is "
        "lost.",
        "Who guesses is right once in eight times.",
    )
    for name, reach in (
        ("one layer, window 8", 7),
        ("two layers, window 8", 14),
        ("four layers, window 8", 28),
        ("four layers, no window", 47),
    ):
        for back in (3, 7, 8, 14, 15, 28, 29, 40):
            if back <= reach:
                assert table("lowest", model=name, back=back) > 0.9
            else:
                assert table("highest", model=name, back=back) < 0.25
