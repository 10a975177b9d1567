"""What the page concludes from MiniLM and from a GPT that read on."""

from tests.claims import claimed

FRONTIER = "adaptation/lora:frontier"


def test_each_at_its_best_rate_lora_learns_and_forgets_less():
    table = claimed(
        FRONTIER, "Each at the rate that learns best, the title is right."
    )
    four = dict(way="r = 4", rate=0.02)
    for rate in (0.001, 0.003):
        whole = dict(way="full", rate=rate)
        assert table("new", **whole) < table("new", **four) - 0.05
    assert table("old", way="full", rate=0.003) > table("old", **four) + 0.3


def test_at_equal_learning_full_fine_tuning_forgets_less_than_rank_4():
    table = claimed(
        FRONTIER,
        "nearly where rank 4 is at best",
        "at equal learning it forgets *less* than rank 4",
    )
    whole = dict(way="full", rate=0.0002)
    for rate in (0.006, 0.02):
        four = dict(way="r = 4", rate=rate)
        assert abs(table("new", **whole) - table("new", **four)) < 0.04
        assert table("old", **whole) < table("old", **four) - 0.15


def test_rank_16_lies_on_the_line_of_full_fine_tuning():
    table = claimed(
        FRONTIER,
        "Rank 16 lies on its line; at 0.006 it stands where full fine-tuning "
        "stands at 0.0004, in both losses.",
    )
    whole, low = dict(way="full", rate=0.0004), dict(way="r = 16", rate=0.006)
    assert abs(table("new", **whole) - table("new", **low)) < 0.02
    apart = table("old_apart", **low)
    assert abs(table("old", **whole) - table("old", **low)) < apart
