"""What the page concludes from the BERT chapter's results."""

from tests.claims import claimed


def test_the_other_side_is_worth_about_what_was_predicted():
    table = claimed(
        "transformer/bert:masked",
        "to the model, about what we predicted, though both do less well than "
        "we thought.",
    )
    both = table("accuracy", who="the model, both sides")
    left = table("accuracy", who="the model, left to right")
    assert 0.14 < both - left < 0.20  # 0.17
    assert both < 0.60 and left < 0.43


def test_both_models_lose_to_counting():
    table = claimed(
        "transformer/bert:masked",
        "And both lose to counting: a model that sees all 31 other characters "
        "ends up between the counts for one and for two neighbours on each "
        "side.",
    )
    both = table("accuracy", who="the model, both sides")
    assert table("accuracy", who="counting, one on each side") < both
    assert both < table("accuracy", who="counting, two on each side")


def test_counting_has_not_far_to_go():
    table = claimed(
        "transformer/bert:masked",
        "Counting, on the other hand, has not far to go",
    )
    one, two, three = (
        table("accuracy", who=f"counting, {n} on each side")
        for n in ("one", "two", "three")
    )
    assert three - two < (two - one) / 4


def looks(table, head, ahead):
    """Mean weight that a head gives the character so many places ahead."""
    line = [
        table("weight", head=head, query=i, key=i + ahead)
        for i in range(16)
        if 0 <= i + ahead < 16
    ]
    return sum(line) / len(line)


def test_the_heads_look_at_the_neighbours_that_counting_uses():
    table = claimed(
        "transformer/bert:heads",
        "The first head looks one place ahead, the second one place back, the "
        "third two places ahead, and the fourth to both neighbours",
    )
    assert looks(table, "head 1", 1) > 0.6
    assert looks(table, "head 2", -1) > 0.6
    assert looks(table, "head 3", 2) > 0.6
    assert looks(table, "head 4", -1) + looks(table, "head 4", 1) > 0.9
    assert min(looks(table, "head 4", d) for d in (-1, 1)) > 0.2
